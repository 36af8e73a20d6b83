// Package verify holds the tests of what is deployed to Kubernetes: the chart is rendered as helm does,
// all manifests are read strictly by Kubernetes' own types, and the configurations in them are validated
// by the gateway. They are in a module of their own; `make deploy` runs them.
package verify

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const (
	chartFolder = "../helm/wandb-gateway"
	plainFile   = "../../configs/kubernetes/gateway.yaml"
	masterKey   = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// gateway is the built binary.
var gateway string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "wandb-gateway-verify-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(folder)
	gateway = filepath.Join(folder, "wandb-gateway")
	build := exec.Command("go", "build", "-o", gateway, "./cmd/wandb-gateway")
	build.Dir, build.Stderr = "../..", os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the binary:", err)
		return 1
	}
	return m.Run()
}

// objects are manifests, by kind.
type objects map[string]any

// read reads manifests strictly: a member that Kubernetes does not know is an error.
func read(t *testing.T, manifests []byte) objects {
	t.Helper()
	found := make(objects)
	for _, document := range bytes.SplitAfter(manifests, []byte("\n---\n")) {
		document = bytes.TrimSuffix(document, []byte("---\n"))
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if head.Kind == "" {
			continue // comments
		}
		var object any
		switch head.APIVersion + " " + head.Kind {
		case "v1 Secret":
			object = new(core.Secret)
		case "v1 ConfigMap":
			object = new(core.ConfigMap)
		case "v1 PersistentVolumeClaim":
			object = new(core.PersistentVolumeClaim)
		case "v1 Service":
			object = new(core.Service)
		case "apps/v1 Deployment":
			object = new(apps.Deployment)
		case "networking.k8s.io/v1 Ingress":
			object = new(networking.Ingress)
		case "policy/v1 PodDisruptionBudget":
			object = new(policy.PodDisruptionBudget)
		default:
			t.Fatalf("nobody checks %s %s", head.APIVersion, head.Kind)
		}
		if err := yaml.UnmarshalStrict(document, object); err != nil {
			t.Fatalf("%s: %v in\n%s", head.Kind, err, document)
		}
		if found[head.Kind] != nil {
			t.Fatalf("two of %s", head.Kind)
		}
		found[head.Kind] = object
	}
	return found
}

// render renders the chart with values over its own.
func render(values string) (string, error) {
	chart, err := loader.Load(chartFolder)
	if err != nil {
		return "", err
	}
	given := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		return "", err
	}
	all, err := chartutil.ToRenderValues(chart, given, chartutil.ReleaseOptions{Name: "gw", Namespace: "wandb", IsInstall: true}, chartutil.DefaultCapabilities)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(chart, all)
	if err != nil {
		return "", err
	}
	var manifests []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(files[name]) != "" {
			manifests = append(manifests, files[name])
		}
	}
	return strings.Join(manifests, "\n---\n"), nil
}

const required = "image: {repository: registry.example.com/wandb-gateway, tag: v1}\nupstream: http://wandb.wandb.svc:8080\n"

// shapes are values that the chart is rendered with; "" stands for the plain manifests.
var shapes = map[string]string{
	"plain":           "",
	"defaults":        required + "masterKey: " + masterKey,
	"existing secret": required + "existingSecret: mine\npersistence: {existingClaim: disk}",
	"local directory with a service key": required + "masterKey: " + masterKey + `
directory: local
upstreamCredential: api_key
serviceKey: local-9876543210987654321098765432109876543210
settings: |
  personal_entities off
  jwt_issuer https://token.actions.githubusercontent.com {
    preset github_actions
  }
`,
	"ingress": required + "masterKey: " + masterKey + `
enforcement: shadow
ingress: {enabled: true, className: nginx, host: wandb.example.com, tlsSecret: wandb-tls, annotations: {a.b/c: "d"}}
imagePullSecrets: [{name: registry}]
env: [{name: OIDC_ISSUER, value: "https://acme.okta.com"}, {name: OIDC_CLIENT_ID, value: "0oa"}]
trustedProxies: [10.0.0.0/24, 10.0.1.0/24]
nodeSelector: {disk: ssd}
tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
podAnnotations: {prometheus.io/scrape: "true"}
`,
	"redis": required + "masterKey: " + masterKey + `
redis: {url: "redis+sentinel://redis-0:26379,redis-1:26379/main", username: gateway, password: "redis-0123456789"}
replicas: 3
`,
	"own caddyfile": required + "masterKey: " + masterKey + `
caddyfile: |
  {
    wandb_gateway {
      store embedded /data/store
    }
  }
  :8080 {
    wandb_gateway
    reverse_proxy http://wandb:8080
  }
`,
}

func TestManifests(t *testing.T) {
	for name, values := range shapes {
		t.Run(name, func(t *testing.T) {
			var manifests []byte
			if values == "" {
				var err error
				if manifests, err = os.ReadFile(plainFile); err != nil {
					t.Fatal(err)
				}
			} else {
				rendered, err := render(values)
				if err != nil {
					t.Fatal(err)
				}
				manifests = []byte(rendered)
			}
			o := read(t, manifests)
			deployment, ok := o["Deployment"].(*apps.Deployment)
			if !ok {
				t.Fatal("no Deployment")
			}
			checkDeployment(t, deployment)
			checkService(t, o, deployment)
			if budget, ok := o["PodDisruptionBudget"].(*policy.PodDisruptionBudget); ok != (*deployment.Spec.Replicas > 1) || ok && !maps.Equal(budget.Spec.Selector.MatchLabels, deployment.Spec.Selector.MatchLabels) {
				t.Errorf("the disruption budget is %+v", budget)
			}
			checkReferences(t, o, deployment, values)
			checkConfiguration(t, o, deployment, !strings.Contains(values, "settings:") && !strings.Contains(values, "caddyfile:"))
		})
	}
}

func checkDeployment(t *testing.T, d *apps.Deployment) {
	t.Helper()
	pod := d.Spec.Template.Spec
	shared := !slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool { return v.PersistentVolumeClaim != nil })
	if !shared && (*d.Spec.Replicas != 1 || d.Spec.Strategy.Type != apps.RecreateDeploymentStrategyType) {
		t.Error("two processes would open one store")
	}
	if shared && (*d.Spec.Replicas < 2 || d.Spec.Strategy.RollingUpdate == nil || d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0) {
		t.Errorf("gateways that share a store are replaced with a gap: %d, %+v", *d.Spec.Replicas, d.Spec.Strategy)
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		t.Error("the pod is given a token that it does not need")
	}
	if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || *s.RunAsUser == 0 || s.FSGroup == nil || s.SeccompProfile == nil {
		t.Errorf("the pod's security context is %+v", s)
	}
	if len(pod.Containers) != 1 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	c := pod.Containers[0]
	if s := c.SecurityContext; s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) {
		t.Errorf("the container's security context is %+v", s)
	}
	if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
		t.Errorf("the resources are %+v", c.Resources)
	}
	for what, probe := range map[string]struct {
		*core.Probe
		path string
	}{"startup": {c.StartupProbe, "/wandb-gateway/healthz"}, "liveness": {c.LivenessProbe, "/wandb-gateway/healthz"}, "readiness": {c.ReadinessProbe, "/wandb-gateway/readyz"}} {
		if probe.Probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != probe.path || !hasPort(c, probe.HTTPGet.Port.StrVal) {
			t.Errorf("the %s probe is %+v", what, probe.Probe)
		}
	}
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil || *pod.TerminationGracePeriodSeconds <= 30+c.Lifecycle.PreStop.Sleep.Seconds {
		t.Error("the pod is killed before its requests are answered")
	}
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("the selector %s=%s does not find the pod", key, value)
		}
	}
	var mounted []string
	for _, m := range c.VolumeMounts {
		mounted = append(mounted, m.Name)
	}
	for _, v := range pod.Volumes {
		if !slices.Contains(mounted, v.Name) {
			t.Errorf("the volume %s is not mounted", v.Name)
		}
	}
	if len(mounted) != len(pod.Volumes) {
		t.Errorf("mounted are %v of %v", mounted, pod.Volumes)
	}
}

func hasPort(c core.Container, name string) bool {
	return slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool { return p.Name == name })
}

func checkService(t *testing.T, o objects, d *apps.Deployment) {
	t.Helper()
	service, ok := o["Service"].(*core.Service)
	if !ok {
		t.Fatal("no Service")
	}
	if !maps.Equal(service.Spec.Selector, d.Spec.Selector.MatchLabels) {
		t.Errorf("the Service selects %v", service.Spec.Selector)
	}
	for _, port := range service.Spec.Ports {
		if !hasPort(d.Spec.Template.Spec.Containers[0], port.TargetPort.StrVal) || port.TargetPort.StrVal == "metrics" {
			t.Errorf("the Service leads to the port %s", port.TargetPort.StrVal)
		}
	}
	if ingress, ok := o["Ingress"].(*networking.Ingress); ok {
		backend := ingress.Spec.Rules[0].HTTP.Paths[0].Backend.Service
		if backend.Name != service.Name || backend.Port.Name != service.Spec.Ports[0].Name || len(ingress.Spec.TLS) != 1 {
			t.Errorf("the Ingress is %+v", ingress.Spec)
		}
	}
}

// checkReferences: what the pod names is there, or was said to be there.
func checkReferences(t *testing.T, o objects, d *apps.Deployment, values string) {
	t.Helper()
	pod := d.Spec.Template.Spec
	secret, _ := o["Secret"].(*core.Secret)
	for _, e := range pod.Containers[0].Env {
		if e.ValueFrom == nil {
			continue
		}
		ref := e.ValueFrom.SecretKeyRef
		if secret == nil {
			if !strings.Contains(values, "existingSecret: "+ref.Name) {
				t.Errorf("nobody makes the secret %s", ref.Name)
			}
		} else if secret.Name != ref.Name || secret.StringData[ref.Key] == "" {
			t.Errorf("the secret has no %s/%s", ref.Name, ref.Key)
		}
	}
	for _, v := range pod.Volumes {
		switch {
		case v.ConfigMap != nil:
			if config, ok := o["ConfigMap"].(*core.ConfigMap); !ok || config.Name != v.ConfigMap.Name {
				t.Errorf("nobody makes the ConfigMap %s", v.ConfigMap.Name)
			}
		case v.PersistentVolumeClaim != nil:
			claim, ok := o["PersistentVolumeClaim"].(*core.PersistentVolumeClaim)
			if name := v.PersistentVolumeClaim.ClaimName; !ok && !strings.Contains(values, "existingClaim: "+name) || ok && claim.Name != name {
				t.Errorf("nobody makes the claim %s", name)
			}
		}
	}
}

// checkConfiguration: the gateway takes the configuration, with the container's variables, and listens
// where the probes ask. What is written by us alone is formatted.
func checkConfiguration(t *testing.T, o objects, d *apps.Deployment, ours bool) {
	t.Helper()
	caddyfile := o["ConfigMap"].(*core.ConfigMap).Data["Caddyfile"]
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	container := d.Spec.Template.Spec.Containers[0]
	validate := exec.Command(gateway, "validate", "--config", file)
	validate.Env = []string{"HOME=" + t.TempDir(), "PATH=/nowhere"}
	for _, e := range container.Env {
		value := e.Value
		switch e.Name {
		case "WANDB_GATEWAY_MASTER_KEY":
			value = masterKey
		case "GATEWAY_REDIS_PASSWORD":
			value = "redis-0123456789"
		case "WANDB_SERVICE_KEY":
			value = "local-9876543210987654321098765432109876543210"
		}
		validate.Env = append(validate.Env, e.Name+"="+value)
	}
	out, err := validate.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, caddyfile)
	}
	for _, port := range container.Ports {
		if port.Name == "http" && !strings.Contains(caddyfile, fmt.Sprintf(":%d {", port.ContainerPort)) {
			t.Errorf("nothing listens on %d", port.ContainerPort)
		}
	}
	if ours && bytes.Contains(out, []byte("not formatted")) {
		t.Errorf("the configuration is not formatted:\n%s", caddyfile)
	}
}

// TestRequiredValues: what cannot be guessed is asked for by name.
func TestRequiredValues(t *testing.T) {
	for name, tt := range map[string]struct{ values, says string }{
		"no server":         {"image: {repository: r, tag: v1}\nmasterKey: x", "upstream"},
		"no image":          {"upstream: http://wandb:8080\nmasterKey: x", "image.repository"},
		"no tag":            {"upstream: http://wandb:8080\nmasterKey: x\nimage: {repository: r}", "image.tag"},
		"no master key":     {required, "masterKey"},
		"no service key":    {required + "masterKey: x\nupstreamCredential: api_key", "serviceKey"},
		"no proxies":        {required + "masterKey: x\ntrustedProxies: []", "trustedProxies"},
		"another directory": {required + "masterKey: x\ndirectory: remote", "directory is wandb or local"},
		"no Redis password": {required + "masterKey: x\nredis: {url: redis://r:6379/0}", "redis.password"},
		"no host":           {required + "masterKey: x\ningress: {enabled: true}", "ingress.host"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := render(tt.values); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("does not say %q: %v", tt.says, err)
			}
		})
	}
}

func TestLint(t *testing.T) {
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(shapes["defaults"]), &values); err != nil {
		t.Fatal(err)
	}
	result := action.NewLint().Run([]string{chartFolder}, values)
	for _, err := range result.Errors {
		t.Error(err)
	}
}

// TestPlaceholderKeyStopsTheStart: the manifest as it stands must not run with a key that all know.
func TestPlaceholderKeyStopsTheStart(t *testing.T) {
	manifests, err := os.ReadFile(plainFile)
	if err != nil {
		t.Fatal(err)
	}
	o := read(t, manifests)
	placeholder := o["Secret"].(*core.Secret).StringData["master-key"]
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte("{\n\twandb_gateway\n}\n:8080 {\n\twandb_gateway\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	validate := exec.Command(gateway, "validate", "--config", file)
	validate.Env = []string{"HOME=" + t.TempDir(), "WANDB_GATEWAY_MASTER_KEY=" + placeholder}
	if out, err := validate.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("master key")) {
		t.Errorf("%v\n%s", err, out)
	}
}
