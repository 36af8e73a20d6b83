package oidc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

func personOf(t testing.TB, text string) (*identity.Identity, error) {
	t.Helper()
	claims, err := jws.ParseClaims([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return person(claims, "groups")
}

func show(who *identity.Identity) string {
	return fmt.Sprintf("%s|%s|%s|%s|%s|%q %v|%s", who.Subject, who.Email, who.EmailVerified, who.Username, who.Name, who.Groups, who.GroupsKnown, who.SessionID)
}

// What the providers that W&B names write into their ID tokens (OIDC-11, OIDC-14 to OIDC-17).
func TestWhatProvidersWrite(t *testing.T) {
	for name, c := range map[string]struct{ claims, want string }{
		"Okta": {`{"sub":"00uid4BxXw6I6TV4m0g3","ver":1,"iss":"https://acme.okta.com","aud":"0oa1","iat":1449624026,"exp":1449627626,
			"jti":"ID.4eAWJOCMB3SX8XewDfVR","amr":["pwd","mfa"],"idp":"00oid1","nonce":"n","name":"Alice A.","email":"alice@acme.test",
			"email_verified":true,"preferred_username":"alice@acme.test","auth_time":1449624000,"at_hash":"cpqKfdQA5eH891Ff5oJr_Q","groups":["Everyone","vision"],"sid":"102Q"}`,
			`00uid4BxXw6I6TV4m0g3|alice@acme.test|true|alice@acme.test|Alice A.|["Everyone" "vision"] true|102Q`},
		"Entra 2.0": {`{"aud":"6731de76","iss":"https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0","iat":1537231048,"nbf":1537231048,
			"exp":1537234948,"aio":"AXQ","email":"alice@acme.test","name":"Alice A.","nonce":"n","oid":"690222be","preferred_username":"alice@acme.test",
			"rh":"0.AX","sub":"HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ","tid":"11111111","uti":"fq","ver":"2.0","groups":["b9d2f5a3-0000-0000-0000-000000000000"],"sid":"9d1"}`,
			`HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ|alice@acme.test|absent|alice@acme.test|Alice A.|["b9d2f5a3-0000-0000-0000-000000000000"] true|9d1`},
		"Entra 1.0": {`{"aud":"b14a7505","iss":"https://sts.windows.net/11111111-2222-3333-4444-555555555555/","iat":1,"nbf":1,"exp":2,"amr":["pwd"],"email":"alice@acme.test",
			"family_name":"A.","given_name":"Alice","ipaddr":"192.0.2.1","name":"Alice A.","nonce":"n","oid":"6902","sub":"ucX8F3","tid":"1111","unique_name":"alice@acme.test","upn":"alice@acme.test","ver":"1.0"}`,
			`ucX8F3|alice@acme.test|absent||Alice A.|[] false|`},
		"Entra, too many groups": {`{"sub":"HK","email":"alice@acme.test","preferred_username":"alice@acme.test","hasgroups":true,
			"_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://graph.windows.net/11111111/users/6902/getMemberObjects"}}}`,
			`HK|alice@acme.test|absent|alice@acme.test||[] false|`},
		"Google": {`{"iss":"https://accounts.google.com","azp":"1234987819200.apps.googleusercontent.com","aud":"1234987819200.apps.googleusercontent.com","sub":"10769150350006150715113082367",
			"at_hash":"HK6E_P6Dh8Y93mRNtsDB1Q","hd":"acme.test","email":"alice@acme.test","email_verified":true,"nonce":"0394852","name":"Alice A.","picture":"https://lh3.googleusercontent.com/x","iat":1,"exp":2}`,
			`10769150350006150715113082367|alice@acme.test|true||Alice A.|[] false|`},
		"Cognito": {`{"at_hash":"x","sub":"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee","cognito:groups":["vision"],"email_verified":"true","iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A",
			"cognito:username":"alice","origin_jti":"x","aud":"xxxx","event_id":"x","token_use":"id","auth_time":1,"name":"Alice A.","exp":2,"iat":1,"jti":"x","email":"alice@acme.test"}`,
			`aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee|alice@acme.test|true||Alice A.|[] false|`},
		"Keycloak": {`{"exp":2,"iat":1,"auth_time":0,"jti":"x","iss":"https://keycloak.acme.test/realms/acme","aud":"wandb","sub":"f:550e8400:alice","typ":"ID","azp":"wandb","nonce":"n",
			"sid":"6f1","at_hash":"x","acr":"1","email_verified":false,"name":"Alice A.","groups":["/vision","/vision/sub"],"preferred_username":"alice","given_name":"Alice","email":"alice@acme.test"}`,
			`f:550e8400:alice|alice@acme.test|false|alice|Alice A.|["/vision" "/vision/sub"] true|6f1`},
		"Auth0": {`{"nickname":"alice","name":"alice@acme.test","picture":"https://s.gravatar.com/x","updated_at":"2026-11-20T00:00:00.000Z","email":"alice@acme.test","email_verified":true,
			"iss":"https://acme.eu.auth0.com/","aud":"x","sub":"auth0|507f1f77bcf86cd799439020","iat":1,"exp":2,"sid":"J0_","nonce":"n","https://acme.test/groups":["vision"]}`,
			`auth0|507f1f77bcf86cd799439020|alice@acme.test|true||alice@acme.test|[] false|J0_`},
	} {
		who, err := personOf(t, c.claims)
		if err != nil || show(who) != c.want {
			t.Errorf("%s: %v\n%+v", name, err, who)
		}
	}
}

// J12: one simple address, or nobody.
func TestEmails(t *testing.T) {
	for _, good := range []string{"alice@acme.test", "Alice@ACME.test", "a+b.c-d_e@x.y", "o'brien@acme.test", strings.Repeat("a", 244) + "@acme.test"} {
		if who, err := personOf(t, fmt.Sprintf(`{"sub":"s","email":%q}`, good)); err != nil || who.Email != good {
			t.Errorf("%s: %v", good, err)
		}
	}
	for name, email := range map[string]string{
		"none":           ``,
		"empty":          `,"email":""`,
		"null":           `,"email":null`,
		"a list":         `,"email":["alice@acme.test"]`,
		"a number":       `,"email":7`,
		"in capitals":    `,"Email":"alice@acme.test"`,
		"two @":          `,"email":"mallory@evil.test@acme.test"`,
		"no @":           `,"email":"alice"`,
		"no name":        `,"email":"@acme.test"`,
		"no host":        `,"email":"alice@"`,
		"two":            `,"email":"alice@acme.test,mallory@evil.test"`,
		"two, semicolon": `,"email":"alice@acme.test;mallory"`,
		"a newline":      `,"email":"alice@acme.test\n"`,
		"NUL":            `,"email":"alice@acme.test\u0000"`,
		"a blank before": `,"email":" alice@acme.test"`,
		"a blank within": `,"email":"alice a@acme.test"`,
		"with a name":    `,"email":"Alice <alice@acme.test>"`,
		"quoted":         `,"email":"\"alice\"@acme.test"`,
		"a comment":      `,"email":"alice(x)@acme.test"`,
		"an address":     `,"email":"alice@[127.0.0.1]"`,
		"a homograph":    `,"email":"alice@аcme.test"`,
		"dotless i":      `,"email":"al\u0131ce@acme.test"`,
		"Kelvin":         `,"email":"\u212aim@acme.test"`,
		"long":           `,"email":"` + strings.Repeat("a", 245) + `@acme.test"`,
		"mailto":         `,"email":"mailto:alice@acme.test"`,
		"only a upn":     `,"upn":"alice@acme.test","preferred_username":"alice@acme.test"`,
	} {
		who, err := personOf(t, `{"sub":"s"`+email+`}`)
		wantError(t, name, err, iam.KindDenied, ReasonEmail)
		if who != nil {
			t.Errorf("%s: %+v", name, who)
		}
	}
}

func TestVerifiedEmails(t *testing.T) {
	for text, want := range map[string]identity.Verified{
		``:                           identity.VerifiedAbsent,
		`,"Email_Verified":true`:     identity.VerifiedAbsent,
		`,"email_verified":true`:     identity.VerifiedTrue,
		`,"email_verified":"true"`:   identity.VerifiedTrue,
		`,"email_verified":1`:        identity.VerifiedTrue,
		`,"email_verified":false`:    identity.VerifiedFalse,
		`,"email_verified":"false"`:  identity.VerifiedFalse,
		`,"email_verified":"False"`:  identity.VerifiedFalse,
		`,"email_verified":0`:        identity.VerifiedFalse,
		`,"email_verified":"0"`:      identity.VerifiedFalse,
		`,"email_verified":"1"`:      identity.VerifiedFalse,
		`,"email_verified":"no"`:     identity.VerifiedFalse,
		`,"email_verified":""`:       identity.VerifiedFalse,
		`,"email_verified":null`:     identity.VerifiedFalse,
		`,"email_verified":[true]`:   identity.VerifiedFalse,
		`,"email_verified":{}`:       identity.VerifiedFalse,
		`,"email_verified":1.0`:      identity.VerifiedFalse,
		`,"email_verified":"true\n"`: identity.VerifiedFalse,
	} {
		who, err := personOf(t, `{"sub":"s","email":"alice@acme.test"`+text+`}`)
		if err != nil || who.EmailVerified != want {
			t.Errorf("%s: %+v, %v", text, who, err)
		}
	}
}

// ENV-20, O18: the whole truth about a person's teams, or nothing.
func TestGroups(t *testing.T) {
	for text, want := range map[string][]string{ // nil: not known
		``:                                  nil,
		`,"groups":null`:                    nil,
		`,"groups":"vision"`:                nil,
		`,"groups":7`:                       nil,
		`,"groups":{"vision":{}}`:           nil,
		`,"groups":["vision",7]`:            nil,
		`,"groups":["vision",null]`:         nil,
		`,"groups":[["vision"]]`:            nil,
		`,"groups":["vision",""]`:           nil,
		`,"groups":["vision\n"]`:            nil,
		`,"Groups":["vision"]`:              nil,
		`,"_claim_names":{"groups":"src1"}`: nil,
		`,"groups":["vision"],"_claim_names":{"groups":"src1"}`: nil,
		`,"groups":[]`:                                                    {},
		`,"groups":["vision"]`:                                            {"vision"},
		`,"groups":["vision","Audio","vision"]`:                           {"Audio", "vision"},
		`,"groups":["vision"],"_claim_names":{"other":"src1"}`:            {"vision"},
		`,"groups":["vision"],"_claim_names":null`:                        {"vision"},
		`,"groups":["team with blanks","ünïcode","CN=x,DC=acme,DC=test"]`: {"CN=x,DC=acme,DC=test", "team with blanks", "ünïcode"},
	} {
		who, err := personOf(t, `{"sub":"s","email":"alice@acme.test"`+text+`}`)
		if err != nil || who.GroupsKnown != (want != nil) || !slices.Equal(who.Groups, want) {
			t.Errorf("%s: %+v, %v", text, who, err)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		`"alice"`: "alice", `"Алиса"`: "Алиса", `""`: "", `null`: "", `7`: "", `["alice"]`: "", `"alice\u0000"`: "", `"a\r\nX: y"`: "",
		`"` + strings.Repeat("x", maxNameBytes) + `"`: strings.Repeat("x", maxNameBytes), `"` + strings.Repeat("x", maxNameBytes+1) + `"`: "",
	} {
		who, err := personOf(t, `{"sub":"s","email":"alice@acme.test","name":`+text+`,"preferred_username":`+text+`}`)
		if err != nil || who.Name != want || who.Username != want {
			t.Errorf("%.40s: %+v, %v", text, who, err)
		}
	}
}

// FuzzPerson: whoever comes out has a subject, one address, and groups only where they are known.
func FuzzPerson(f *testing.F) {
	for _, s := range []string{
		`{"sub":"s","email":"alice@acme.test","email_verified":true,"groups":["vision"],"sid":"x","name":"A","preferred_username":"a"}`,
		`{"sub":"s","email":"a@b@c"}`, `{"sub":"","email":"a@b"}`, `{"sub":"s","email":"a@b","_claim_names":{"groups":"x"},"groups":[]}`, `{}`, `[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		claims, err := jws.ParseClaims(text)
		if err != nil {
			return
		}
		who, err := person(claims, "groups")
		if err != nil {
			if kind := iam.KindOf(err); kind != iam.KindUnauthenticated && kind != iam.KindDenied {
				t.Fatal(err)
			}
			return
		}
		if who.Subject == "" || len(who.Subject) > maxSubjectBytes || len(who.SessionID) > maxSubjectBytes ||
			strings.Count(who.Email, "@") != 1 || !visible(who.Email) || len(who.Email) > maxEmailBytes ||
			!who.GroupsKnown && len(who.Groups) > 0 || !slices.IsSorted(who.Groups) || strings.ContainsAny(who.Name+who.Username+strings.Join(who.Groups, ""), "\x00\r\n") {
			t.Fatalf("%s: %+v", text, who)
		}
	})
}

// TestGroupsClaim: some providers have a name of their own for the groups, or reserve the usual one.
func TestGroupsClaim(t *testing.T) {
	claims, err := jws.ParseClaims([]byte(`{"sub":"1","email":"a@acme.test","cognito:groups":["vision"],"groups":["other"]}`))
	if err != nil {
		t.Fatal(err)
	}
	who, err := person(claims, "cognito:groups")
	if err != nil || !who.GroupsKnown || len(who.Groups) != 1 || who.Groups[0] != "vision" {
		t.Errorf("%+v, %v", who, err)
	}
	if who, err := person(claims, "https://acme.test/groups"); err != nil || who.GroupsKnown {
		t.Errorf("a claim that is not there: %+v, %v", who, err)
	}
}
