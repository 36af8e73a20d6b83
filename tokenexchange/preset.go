package tokenexchange

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// preset is what is known of the issuer of one kind of workload. Many such issuers serve the whole
// world: everybody can have them sign an assertion with any audience, so that a service account must
// be bound to something that only its owner's workloads have.
type preset struct {
	name string
	// issuer says in words which issuers it is for; isOf decides.
	issuer string
	isOf   func(issuer string) bool
	// algorithms are what its keys sign with.
	algorithms []jws.Algorithm
	// owned are the claims that only the workloads of one owner have. Each rule names one of them, and
	// the subject, where it is one, has the form subject.
	owned       []string
	subject     *regexp.Regexp
	subjectForm string
}

// The presets. What their issuers sign is documented by them:
// GitHub "OpenID Connect reference", GitLab "ID token authentication", Kubernetes "Service account
// token volume projection", Google "ID tokens", AWS "Outbound identity federation" and EKS "IAM roles
// for service accounts", Microsoft "ID and access token claims reference", Buildkite "OIDC".
var presets = []*preset{
	{
		name:       "github_actions",
		issuer:     "its issuer is https://token.actions.githubusercontent.com, or https://HOST/_services/token of a GitHub Enterprise Server",
		isOf:       issuerPattern(`https://token\.actions\.githubusercontent\.com(/[A-Za-z0-9-]+)?|https://[^/]+/_services/token`),
		algorithms: []jws.Algorithm{"RS256"},
		// Not job_workflow_ref: everybody can call a public reusable workflow from a repository of their own.
		owned:       []string{"repository", "repository_id", "repository_owner", "repository_owner_id", "workflow_ref"},
		subject:     regexp.MustCompile(`^(repo:[^/:]+/[^/:]+:.+|(repository|repository_id|repository_owner|repository_owner_id):[^:]+(:.*)?)$`),
		subjectForm: "repo:OWNER/NAME:ref:refs/heads/BRANCH",
	},
	{
		name:        "gitlab",
		issuer:      "its issuer is the address of a GitLab, such as https://gitlab.com",
		isOf:        issuerPattern(`https?://[^/]+(/[^?#]*)?`),
		algorithms:  []jws.Algorithm{"RS256"},
		owned:       []string{"project_path", "project_id", "namespace_path", "namespace_id"},
		subject:     regexp.MustCompile(`^project_path:[^/:]+/[^:]+:.+$`),
		subjectForm: "project_path:GROUP/PROJECT:ref_type:branch:ref:BRANCH",
	},
	{
		name:        "kubernetes",
		issuer:      "its issuer is what `kubectl get --raw /.well-known/openid-configuration` names",
		isOf:        issuerPattern(`https?://[^/]+(/[^?#]*)?`),
		owned:       []string{"kubernetes.io/namespace", "kubernetes.io/serviceaccount/uid"},
		subject:     regexp.MustCompile(`^system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+$`),
		subjectForm: "system:serviceaccount:NAMESPACE:NAME",
	},
	{
		name:        "google",
		issuer:      "its issuer is https://accounts.google.com",
		isOf:        issuerPattern(`https://accounts\.google\.com`),
		algorithms:  []jws.Algorithm{"RS256"},
		owned:       []string{"email", "google/compute_engine/project_id", "google/compute_engine/project_number", "google/compute_engine/instance_id"},
		subject:     regexp.MustCompile(`^[0-9]{6,32}$`),
		subjectForm: "the numeric unique id of a Google service account",
	},
	{
		name:        "aws",
		issuer:      "its issuer is the one of an account, https://ID.tokens.sts.global.api.aws, or of an EKS cluster, https://oidc.eks.REGION.amazonaws.com/id/ID",
		isOf:        issuerPattern(`https://[0-9a-f-]{36}\.tokens\.sts\.global\.api\.aws|https://oidc\.eks\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/id/[0-9A-F]+`),
		algorithms:  []jws.Algorithm{"RS256", "ES384"},
		owned:       []string{"https://sts.amazonaws.com//aws_account", "https://sts.amazonaws.com//principal_id", "https://sts.amazonaws.com//lambda_source_function_arn", "kubernetes.io/namespace"},
		subject:     regexp.MustCompile(`^(arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:.+|system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+)$`),
		subjectForm: "arn:aws:iam::ACCOUNT:role/NAME, or system:serviceaccount:NAMESPACE:NAME of an EKS cluster",
	},
	{
		name:        "azure",
		issuer:      "its issuer is the one of a tenant, https://login.microsoftonline.com/TENANT-ID/v2.0 or https://sts.windows.net/TENANT-ID/",
		isOf:        issuerPattern(`https://login\.microsoftonline\.(com|us)/` + uuid + `/v2\.0|https://sts\.windows\.net/` + uuid + `/`),
		algorithms:  []jws.Algorithm{"RS256"},
		owned:       []string{"oid", "appid", "azp", "xms_mirid"},
		subject:     regexp.MustCompile(`^` + uuid + `$`),
		subjectForm: "the object id of a managed identity or service principal",
	},
	{
		name:        "buildkite",
		issuer:      "its issuer is https://agent.buildkite.com",
		isOf:        issuerPattern(`https://agent\.buildkite\.com`),
		algorithms:  []jws.Algorithm{"RS256"},
		owned:       []string{"organization_id", "organization_slug", "pipeline_id"},
		subject:     regexp.MustCompile(`^organization:[^:]+:pipeline:[^:]+:.+$`),
		subjectForm: "organization:SLUG:pipeline:SLUG:ref:refs/heads/BRANCH:commit:SHA:step:KEY",
	},
}

const uuid = `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`

func issuerPattern(pattern string) func(string) bool {
	return regexp.MustCompile(`^(?:` + pattern + `)$`).MatchString
}

// PresetNames lists the presets.
func PresetNames() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

func findPreset(name string) (*preset, error) {
	for _, p := range presets {
		if p.name == name {
			return p, nil
		}
	}
	return nil, iam.Invalidf("preset %.80q is not known; there are %s", name, strings.Join(PresetNames(), ", "))
}

// impliedPreset finds the preset of an issuer that is known by its address; nil if it is not.
func impliedPreset(issuer string) *preset {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	name := ""
	switch host := u.Hostname(); {
	case host == "token.actions.githubusercontent.com":
		name = "github_actions"
	case host == "gitlab.com":
		name = "gitlab"
	case host == "accounts.google.com":
		name = "google"
	case host == "agent.buildkite.com":
		name = "buildkite"
	case strings.HasSuffix(host, ".tokens.sts.global.api.aws"), strings.HasPrefix(host, "oidc.eks."):
		name = "aws"
	case host == "login.microsoftonline.com", host == "login.microsoftonline.us", host == "sts.windows.net":
		name = "azure"
	default:
		return nil
	}
	p, _ := findPreset(name)
	return p
}

// unowned are claims that tell nothing of who is behind an assertion: whoever asks an issuer for one
// can choose or has them.
var unowned = []string{
	"iss", "aud", "exp", "iat", "nbf", "jti", "typ", "nonce", "scope", "scp", "auth_time", "acr", "amr", "ver",
	"email_verified", "sid", "sha", "ref", "ref_type", "ref_protected", "environment", "actor", "event_name", "workflow", "job_workflow_ref",
	"head_ref", "base_ref", "run_id", "run_number", "run_attempt", "runner_environment", "repository_visibility",
	"build_branch", "build_tag", "build_number", "step_key", "pipeline_slug", "pipeline_source", "user_login", "user_email",
}

// checkMapping refuses a mapping of the issuer's assertions to a service account, by subject or by
// claims, that somebody outside could satisfy: an audience, a branch or a step is nobody's own.
func (t *TrustedIssuer) checkMapping(subject string, claims map[string]string) error {
	p := t.preset()
	switch {
	case subject != "":
		return t.checkMappedSubject(p, subject)
	case p == nil:
		for name := range claims {
			if !slices.Contains(unowned, name) {
				return nil
			}
		}
		return iam.Invalidf("the claims %s do not say whose workload it is, so that others could have an assertion of %s with them: add a claim that only your workloads have, or use the subject", listOf(claims), t.URL)
	}
	for _, name := range p.owned {
		if _, ok := claims[name]; ok {
			return nil
		}
	}
	if sub, ok := claims["sub"]; ok && p.subject.MatchString(sub) {
		return nil
	}
	return iam.Invalidf("the claims %s do not say whose workload it is, and assertions of %s can be had by others: add one of %s", listOf(claims), t.URL, strings.Join(p.owned, ", "))
}

// checkMappedSubject is checkMapping for a subject. Where another claim than `sub` tells it, that claim
// says whose workload it is (checkSubjectClaim), whatever its form.
func (t *TrustedIssuer) checkMappedSubject(p *preset, subject string) error {
	if p == nil || t.subjectClaim() != "sub" || p.subject.MatchString(subject) {
		return nil
	}
	return iam.Invalidf("the subject %.120q does not say whose workload it is, and assertions of %s can be had by others: write it as %s", subject, t.URL, p.subjectForm)
}

// checkSubjectClaim refuses a claim in the place of `sub` that does not tell whom an assertion is about.
func checkSubjectClaim(p *preset, name string) error {
	if p != nil && !slices.Contains(p.owned, name) && name != "sub" {
		return iam.Invalidf("subject claim %.80q does not say whose workload it is with preset %s: use sub, %s", name, p.name, strings.Join(p.owned, ", "))
	}
	if p == nil && slices.Contains(unowned, name) {
		return iam.Invalidf("subject claim %.80q does not say whom an assertion is about, because whoever asks for one can choose it: use sub, email, or a claim of the workload's own", name)
	}
	return nil
}

func listOf(claims map[string]string) string {
	names := make([]string, 0, len(claims))
	for name := range claims {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
