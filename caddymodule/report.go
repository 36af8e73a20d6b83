package caddymodule

import (
	"errors"
	"net/http"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// report counts and logs how a request ended: refusals and what shadow let pass at level info, the gateway's
// own failures at error, everything else at debug. One event a request, never a credential.
func (h *Handler) report(r *http.Request, e *gateway.Event) {
	countRequest(e)
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
	if cause := cause(e.Err, level); cause != nil {
		fields = append(fields, zap.NamedError("cause", cause))
	}
	entry.Write(fields...)
}

// cause is what the log says beyond what the caller was told: why the gateway failed, or which check a
// token did not pass.
func cause(err error, level zapcore.Level) error {
	if level == zapcore.ErrorLevel {
		return err
	}
	if refusal, ok := errors.AsType[*iam.Error](err); ok && refusal.Kind == iam.KindUnauthenticated {
		return refusal.Err
	}
	return nil
}

// reportExchange counts and logs how exchanges end. A token that is asked for is an event of interest to whoever
// watches over access, so that those that succeed are logged too.
func reportExchange(logger *zap.Logger) func(tokenexchange.Event) {
	return func(e tokenexchange.Event) {
		countExchange(e)
		fields := []zap.Field{
			zap.String("request_id", e.RequestID),
			zap.String("client", e.Client.String()),
			zap.Int("status", e.Status),
			zap.String("issuer", e.Issuer), zap.String("subject", e.Subject), zap.String("assertion", e.AssertionID),
		}
		switch {
		case e.Err == nil:
			logger.Info("assertion exchanged", append(fields,
				zap.String("principal", e.Principal.String()), zap.String("username", e.Username), zap.String("token", e.TokenID))...)
		case e.Status >= http.StatusInternalServerError:
			logger.Error("assertion could not be judged", append(fields, zap.NamedError("cause", e.Err))...)
		default:
			logger.Info("assertion refused", append(fields, zap.String("reason", string(e.Reason)), zap.NamedError("cause", e.Err))...)
		}
	}
}

// reportSigning logs what happens to the keys that sign access tokens.
func reportSigning(logger *zap.Logger) func(signing.Event) {
	return func(e signing.Event) {
		fields := []zap.Field{zap.String("what", string(e.What)), zap.String("key", e.Key.ID), zap.Time("signs_from", e.Key.SignsFrom)}
		if e.Err != nil {
			logger.Error("signing key", append(fields, zap.Error(e.Err))...)
			return
		}
		logger.Info("signing key", fields...)
	}
}

func reportLevel(e *gateway.Event) (zapcore.Level, string) {
	switch {
	case e.Reason == gateway.ReasonServerUnreachable:
		return zapcore.ErrorLevel, "the server did not answer"
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

// reportPlaces logs when old places of ids cannot be deleted. They are in nobody's way but take room.
func reportPlaces(logger *zap.Logger) func(error) {
	return func(err error) {
		logger.Warn("the places of ids that nobody uses any more were not deleted; the next try is in a day", zap.Error(err))
	}
}

// reportHandovers logs when new keys that nobody took cannot be deleted. They are sealed.
func reportHandovers(logger *zap.Logger) func(error) {
	return func(err error) {
		logger.Warn("keys of new service accounts that nobody looked at were not deleted; the next try is in some minutes", zap.Error(err))
	}
}

// reportUses logs when it cannot be recorded that keys are used. No request waits for that.
func reportUses(logger *zap.Logger) func(error) {
	return func(err error) {
		logger.Warn("when API keys were last used cannot be recorded at the moment, and is tried again", zap.Error(err))
	}
}

// reportKeySet logs when an issuer's keys cannot be had, change, or are no good.
func reportKeySet(logger *zap.Logger) func(remote.Event) {
	return func(e remote.Event) {
		switch {
		case e.Err != nil:
			logger.Warn("the keys of an issuer cannot be fetched; what was fetched in the last 24 hours goes on counting",
				zap.String("issuer", e.Issuer), zap.Error(e.Err), zap.Strings("ignored", e.Ignored))
		case e.Changed:
			logger.Info("the keys of an issuer changed", zap.String("issuer", e.Issuer), zap.Int("keys", e.Keys), zap.Strings("ignored", e.Ignored))
		}
	}
}
