//go:build e2e

package tests

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// The Keycloak of the tests: the newest that Maven Central serves whole, and it runs on Java 17.
const (
	keycloakVersion = "26.7.3"
	keycloakSHA256  = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
)

// installKeycloak fetches the distribution and prepares it to start quickly, with the realm acme.
func installKeycloak(t *testing.T) string {
	t.Helper()
	realm, err := os.ReadFile(filepath.Join("keycloak", "acme-realm.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(realm)
	name := "keycloak-" + keycloakVersion
	cached := installed(t, name+"-"+hex.EncodeToString(sum[:6]), func(dir string) error {
		archive := filepath.Join(dir, "keycloak-quarkus-dist-"+keycloakVersion+".zip")
		if err := command(dir, "mvn", "--batch-mode", "--quiet", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
			"-Dartifact=org.keycloak:keycloak-quarkus-dist:"+keycloakVersion+":zip", "-DoutputDirectory="+dir); err != nil {
			return err
		}
		if err := unzip(archive, dir, keycloakSHA256); err != nil {
			return err
		}
		if err := os.Remove(archive); err != nil {
			return err
		}
		home := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(home, "data", "import"), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(home, "data", "import", "acme-realm.json"), realm, 0o644); err != nil {
			return err
		}
		// With its database in memory nothing of a test is left to the next.
		return command(home, filepath.Join(home, "bin", "kc.sh"), "build", "--db=dev-mem", "--cache=local")
	})
	return filepath.Join(cached, name)
}

// unzip unpacks an archive whose SHA-256 is known.
func unzip(archive, dir, sum string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return fmt.Errorf("%s has the SHA-256 %s, want %s", archive, got, sum)
	}
	files, err := zip.NewReader(f, size)
	if err != nil {
		return err
	}
	for _, entry := range files.File {
		if err := unpack(entry, dir); err != nil {
			return err
		}
	}
	return nil
}

func unpack(entry *zip.File, dir string) error {
	if !filepath.IsLocal(entry.Name) {
		return fmt.Errorf("the archive holds %q", entry.Name)
	}
	path := filepath.Join(dir, entry.Name)
	if entry.FileInfo().IsDir() {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	from, err := entry.Open()
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, entry.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		return err
	}
	return to.Close()
}

// startKeycloak runs a Keycloak and returns the issuer of the realm acme.
func startKeycloak(t *testing.T) (issuer string) {
	t.Helper()
	home := installKeycloak(t)
	t.Cleanup(lockFile(t, filepath.Join(cacheFolder(t), "keycloak.lock"))) // it writes into its own folder
	address := freeAddress(t)
	_, port, _ := strings.Cut(address, ":")
	logs := new(logBuffer)
	cmd := exec.Command(filepath.Join(home, "bin", "kc.sh"), "start", "--optimized", "--import-realm",
		"--http-enabled=true", "--hostname-strict=false", "--http-host=127.0.0.1", "--http-port="+port)
	cmd.Env = append(cleanEnvironment(), "JAVA_OPTS_KC_HEAP=-Xms64m -Xmx512m")
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // kc.sh starts Java beside itself
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("Keycloak printed:\n%s", logs)
		}
	})
	issuer = "http://" + address + "/realms/acme"
	await(t, "Keycloak to start", 4*time.Minute, func() bool {
		select {
		case <-ended:
			t.Fatalf("Keycloak ended:\n%s", logs)
		default:
		}
		res, err := client.Get(issuer + "/.well-known/openid-configuration")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return issuer
}

// keycloakToken signs in at the realm and returns the id token.
func keycloakToken(t *testing.T, issuer string, form url.Values) string {
	t.Helper()
	form.Set("scope", "openid email")
	return tokenFrom(t, issuer+"/protocol/openid-connect/token", "id_token", form)
}

// TestSDKWithKeycloak: a person and a client's service account of a Keycloak log runs. Its tokens hold
// the gateway's audience beside their own.
func TestSDKWithKeycloak(t *testing.T) {
	t.Parallel()
	issuer := startKeycloak(t)
	person := keycloakToken(t, issuer, url.Values{"grant_type": {"password"}, "client_id": {"people"}, "username": {"alice"}, "password": {"of-alice"}})
	job := keycloakToken(t, issuer, url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci-train"}, "client_secret": {"of-ci-train"}})
	if _, claims := decodeToken(t, person); claims["iss"] != issuer || claims["sub"] != "alice@acme.test" {
		t.Fatalf("the person's token says %v", claims)
	}
	_, claims := decodeToken(t, job)
	f := federation{upstream: startStandin(t, standin.Config{Trust: true})}
	f.tap, f.process = newTap(t, start(t, config{global: trustingURL(issuer), site: "upstream_credential none", upstream: f.upstream.address}))
	f.importFile(withFederated(sdkDirectory, issuer, "kc-train", fmt.Sprint(claims["sub"])))
	version := sdkVersions[len(sdkVersions)-1]
	for _, s := range []scenario{
		{name: "person of keycloak", token: person, env: []string{"WANDB_ENTITY", "vision"}, project: "team", entity: "vision", user: "alice", attributed: "alice"},
		{name: "job of keycloak", token: job, env: []string{"WANDB_ENTITY", "vision"}, project: "team", entity: "vision", user: "kc-train"},
	} {
		t.Run(s.name, func(t *testing.T) {
			s.run(t, version, f.process, f.upstream)
			f.mustBeExchangedByTheBook(t, s.token)
		})
	}
	t.Run("at a browser", func(t *testing.T) { browserWithKeycloak(t, issuer) })
}

// browserWithKeycloak signs a person in at a browser, with PKCE, into the team that her group there names,
// and out again.
func browserWithKeycloak(t *testing.T, issuer string) {
	upstream := newRecorder(t)
	upstream.greets()
	p := start(t, config{host: "wandb.localhost", upstream: upstream.host(), global: fmt.Sprintf(
		"oidc {\n\t\t\tissuer %s\n\t\t\tclient_id wandb\n\t\t\tauth_method pkce\n\t\t}\n\t\tsso_group_claims on", issuer)})
	p.importFile(strings.Replace(acme, `{"user": "alice", "role": "admin"}, `, "", 1)) // alice is in no team
	person := startBrowser(t, "chrome").profile(t)
	tb := person.tab()
	tb.open(p.url + "/vision/team?a=%2Fb")
	tb.do(nil, "fill", "selector", "#username", "text", "alice")
	tb.do(nil, "fill", "selector", "#password", "text", "of-alice")
	tb.do(nil, "click", "selector", "#kc-login", "leaves", true)
	tb.awaitText("Hello alice")
	if tb.url() != p.url+"/vision/team?a=%2Fb" {
		t.Errorf("the sign-in ends at %s", tb.url())
	}
	if got := upstream.take(); got[0].header.Get("X-Forwarded-Groups") != "vision" {
		t.Errorf("the upstream is told the groups %q", got[0].header.Get("X-Forwarded-Groups"))
	}
	tb.open(p.url + "/logout")
	tb.press("button", "Sign out")
	tb.awaitURL(p.url + "/logout")
	tb.awaitText("You are signed out")
	tb.open(p.url + "/home")
	tb.awaitURL(issuer + "/") // whose own session ended too
	if person.session() != "" {
		t.Error("the browser still has a session")
	}
}
