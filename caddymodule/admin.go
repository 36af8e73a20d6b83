package caddymodule

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/admin"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
)

// adminPrefix is where the gateway's routes stand on Caddy's admin endpoint. Whoever reaches that
// endpoint can already replace the whole configuration, so that nothing more is asked of them.
const adminPrefix = "/wandb_gateway/iam"

// adminRoutes adds the gateway's routes to Caddy's admin endpoint.
type adminRoutes struct{}

// CaddyModule implements caddy.Module.
func (*adminRoutes) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.wandb_gateway", New: func() caddy.Module { return new(adminRoutes) }}
}

// Provision registers what is counted, before the apps of the configuration are made: /metrics goes on
// telling it if that fails.
func (*adminRoutes) Provision(ctx caddy.Context) error {
	return measured.Register(ctx.GetMetricsRegistry())
}

// Routes implements caddy.AdminRouter.
func (a *adminRoutes) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminPrefix + "/", Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *adminRoutes) serve(w http.ResponseWriter, r *http.Request) error {
	if app := started.latest(); app != nil && r.Method == http.MethodGet && r.URL.Path == adminPrefix+"/backup" {
		app.serveBackup(w, r)
		return nil
	}
	answer, err := a.answer(r)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(answer); err == nil {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_, err = w.Write(body)
			return err
		}
	}
	problem.From(err).WriteJSON(w)
	return nil
}

func (a *adminRoutes) answer(r *http.Request) (any, error) {
	app := started.latest()
	if app == nil {
		return nil, iam.NotFoundf("this server has no wandb_gateway in its configuration, or is just starting")
	}
	services := app.running()
	if services == nil {
		return nil, iam.Unavailable("the gateway is just stopping", nil)
	}
	service := admin.New(services.directory.Telling(reportCommand(app.logger, r.RemoteAddr)), services.tokens, services.sessions, services.vault)
	path := strings.TrimPrefix(r.URL.Path, adminPrefix)
	if r.Method == http.MethodGet {
		switch path {
		case "/export":
			return service.Export(r.Context())
		case "/doctor":
			return app.doctor(r.Context())
		}
		return nil, iam.NotFoundf("there is nothing at %s", r.URL.Path)
	}
	if r.Method != http.MethodPost {
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMethodNotAllowed, Message: "this endpoint takes GET and POST"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, directory.MaxImportBytes+1))
	if err != nil {
		return nil, err
	}
	switch path {
	case "/import":
		return service.Import(r.Context(), body, r.URL.Query().Get("prune") == "true")
	case "/explain":
		return service.Explain(r.Context(), body)
	case "/doctor/issuer":
		return service.DoctorIssuer(r.Context(), body)
	}
	noun, verb, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return service.Call(r.Context(), noun, verb, body)
}

// Interface guards.
var (
	_ caddy.AdminRouter = (*adminRoutes)(nil)
	_ caddy.Provisioner = (*adminRoutes)(nil)
)
