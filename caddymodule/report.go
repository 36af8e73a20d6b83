package caddymodule

import (
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
)

// report logs how a request ended: refusals and what shadow let pass at level info, the gateway's
// own failures at error, everything else at debug. One event a request, never a credential.
func (h *Handler) report(r *http.Request, e *gateway.Event) {
	level, message := reportLevel(e)
	entry := h.logger.Check(level, message)
	if entry == nil {
		return
	}
	fields := make([]zap.Field, 0, 16)
	fields = append(fields,
		zap.String("request_id", requestID(r)),
		zap.String("client", e.Client.String()),
		zap.String("method", r.Method),
		zap.String("path", bounded(r.URL.Path)),
		zap.Stringer("credential", e.Credential),
		zap.String("reason", string(e.Reason)),
	)
	if e.Principal != nil {
		fields = append(fields, zap.String("principal", e.Principal.Ref.String()), zap.String("username", e.Principal.Username))
	}
	if e.Operation != "" {
		fields = append(fields, zap.String("operation", bounded(e.Operation)))
	}
	if e.Permission != "" {
		fields = append(fields, zap.String("permission", string(e.Permission)),
			zap.String("entity", bounded(e.Resource.Entity)), zap.String("project", bounded(e.Resource.Project)))
	}
	if e.Attributed != nil {
		fields = append(fields, zap.String("on_behalf_of", e.Attributed.Username))
	}
	if e.AttributionDropped {
		fields = append(fields, zap.Bool("attribution_dropped", true))
	}
	if e.Shadowed {
		fields = append(fields, zap.Bool("shadow", true))
	}
	if e.Status != 0 {
		fields = append(fields, zap.Int("status", e.Status))
	}
	if level == zapcore.ErrorLevel && e.Err != nil {
		fields = append(fields, zap.NamedError("cause", e.Err))
	}
	entry.Write(fields...)
}

func reportLevel(e *gateway.Event) (zapcore.Level, string) {
	switch {
	case e.Status >= http.StatusInternalServerError:
		return zapcore.ErrorLevel, "could not be judged"
	case e.Shadowed:
		return zapcore.InfoLevel, "would be refused"
	case e.Effect == authz.Deny && e.Status != 0:
		return zapcore.InfoLevel, "refused"
	case e.AttributionDropped:
		return zapcore.InfoLevel, "attribution dropped"
	default:
		return zapcore.DebugLevel, "passed"
	}
}

// maxLogged bounds what a stranger can write into a log line. The encoder escapes it.
const maxLogged = 256

func bounded(s string) string {
	if len(s) > maxLogged {
		return s[:maxLogged]
	}
	return s
}
