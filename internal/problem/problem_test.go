package problem

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestFromTellsNothingOfAnUnknownError(t *testing.T) {
	err := fmt.Errorf("dial tcp 10.0.0.7:6379: password hunter2: %w", errors.New("refused"))
	p := From(err)
	if p.Status != http.StatusInternalServerError {
		t.Errorf("status = %d, want 500", p.Status)
	}
	for _, secret := range []string{"hunter2", "10.0.0.7"} {
		if strings.Contains(string(p.JSON()), secret) {
			t.Errorf("body tells %q: %s", secret, p.JSON())
		}
	}
}

func TestFromKeepsTheCauseInside(t *testing.T) {
	err := fmt.Errorf("identify: %w", iam.Unavailable("The user directory did not answer.", errors.New("redis: secret-host:6379")))
	rec := httptest.NewRecorder()
	From(err).WriteJSON(rec)
	if rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") != "2" {
		t.Errorf("got %d, Retry-After %q; want 503 and 2", rec.Code, rec.Header().Get("Retry-After"))
	}
	if strings.Contains(rec.Body.String(), "secret-host") {
		t.Errorf("body tells the cause: %s", rec.Body)
	}
}

func TestJSONIsWhatEveryClientReads(t *testing.T) {
	p := From(&iam.Error{Kind: iam.KindDenied, Reason: "team_scope", Message: "No <b>."})
	p.RequestID = "4f1c"
	const want = `{"errors":[{"message":"No \u003cb\u003e.","extensions":{"code":"FORBIDDEN","reason":"team_scope","request_id":"4f1c"}}],"error":"No \u003cb\u003e."}`
	if got := string(p.JSON()); got != want {
		t.Errorf("body\n got %s\nwant %s", got, want)
	}
	if !json.Valid(p.JSON()) {
		t.Error("body is not JSON")
	}
}

func TestStatusOfEveryKind(t *testing.T) {
	for _, tt := range []struct {
		err  *iam.Error
		want int
	}{
		{&iam.Error{Kind: iam.KindInternal}, 500},
		{&iam.Error{Kind: iam.KindInvalid}, 400},
		{&iam.Error{Kind: iam.KindInvalid, Reason: ReasonMethodNotAllowed}, 405},
		{&iam.Error{Kind: iam.KindInvalid, Reason: ReasonUnsupportedMediaType}, 415},
		{&iam.Error{Kind: iam.KindInvalid, Reason: ReasonMisdirected}, 421},
		{&iam.Error{Kind: iam.KindInvalid, Reason: ReasonNotImplemented}, 501},
		{&iam.Error{Kind: iam.KindUnauthenticated}, 401},
		{&iam.Error{Kind: iam.KindDenied}, 403},
		{&iam.Error{Kind: iam.KindNotFound}, 404},
		{&iam.Error{Kind: iam.KindConflict}, 409},
		{&iam.Error{Kind: iam.KindUnavailable}, 503},
		{&iam.Error{Kind: iam.KindTooLarge}, 413},
		{&iam.Error{Kind: iam.KindTooMany}, 429},
	} {
		p := From(tt.err)
		if p.Status != tt.want {
			t.Errorf("kind %d reason %q: status %d, want %d", tt.err.Kind, tt.err.Reason, p.Status, tt.want)
		}
		if (p.Challenge != "") != (tt.want == 401) {
			t.Errorf("status %d: challenge %q", p.Status, p.Challenge)
		}
	}
}

func TestHTMLEscapesAndForbidsEverything(t *testing.T) {
	rec := httptest.NewRecorder()
	From(&iam.Error{Kind: iam.KindUnauthenticated, Message: "<script>alert(1)</script>"}).WriteHTML(rec)
	if strings.Contains(rec.Body.String(), "<script>") {
		t.Errorf("message is not escaped: %s", rec.Body)
	}
	if !strings.Contains(rec.Header().Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("policy = %q", rec.Header().Get("Content-Security-Policy"))
	}
	if got := rec.Header().Get("WWW-Authenticate"); got != "" {
		t.Errorf("a page challenges the browser: %q", got)
	}
}
