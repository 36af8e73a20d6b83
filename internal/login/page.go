package login

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
)

// The pages need no image or font, and but for one button no script. Style and script stand in the page
// and are allowed by their hashes alone: no comment may be in them, for html/template takes it out.
const style = `
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1a1c1f;--faint:#5b6470;--line:#8a929c;--act:#0b57d0;--on:#fff;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--page:#131416;--card:#1e2023;--text:#e8eaed;--faint:#a9b1bb;--line:#7d8590;--act:#a8c7fa;--on:#062e6f;--bad:#f2b8b5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:1rem/1.5 system-ui,sans-serif}
main{max-width:30rem;margin:8vh auto;padding:1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
main.wide{max-width:44rem}
h1{font-size:1.375rem;line-height:1.25;margin:0 0 1rem}
h2{font-size:1.0625rem;margin:2rem 0 .5rem}
p{margin:0 0 1rem;overflow-wrap:anywhere}
label{display:block;font-weight:600;margin:0 0 .25rem}
input[type=text],input[type=password]{width:100%;font:inherit;color:inherit;background:var(--page);padding:.5rem .75rem;margin:0 0 1rem;border:1px solid var(--line);border-radius:.5rem}
button,.button{display:block;width:100%;font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer;color:var(--on);background:var(--act);padding:.625rem 1rem;border:1px solid var(--act);border-radius:.5rem}
button.plain,.button.plain{color:var(--act);background:none}
button.small{width:auto;padding:.25rem .75rem}
button[hidden]{display:none}
a{color:var(--act)}
:focus-visible{outline:3px solid var(--act);outline-offset:2px}
.or{text-align:center;color:var(--faint);margin:1rem 0}
.alert{color:var(--bad);border-left:4px solid var(--bad);padding:0 0 0 .75rem}
.faint{color:var(--faint);font-size:.875rem}
.choice{display:flex;gap:.75rem;align-items:center;font-weight:400;padding:.375rem 0}
.choice input{width:1.25rem;height:1.25rem;margin:0}
.choices{margin:0 0 1rem;padding:0;border:0}
legend{padding:0;font-weight:600}
form+.faint{margin-top:1rem}
main>:last-child{margin-bottom:0}
.secret{display:block;font:1rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere;user-select:all;background:var(--page);padding:.75rem;margin:0 0 1rem;border:1px solid var(--line);border-radius:.5rem}
ul{list-style:none;margin:0;padding:0}
li{display:flex;gap:1rem;justify-content:space-between;align-items:center;padding:.625rem 0;border-top:1px solid var(--line)}
li div{min-width:0;overflow-wrap:anywhere}
@media (max-width:32rem){main,main.wide{margin:0;min-height:100vh;border:0;border-radius:0}}
`

// script shows the button that copies a key where a browser can; without it the key is selected by
// hand.
const script = `
var b=document.getElementById("copy"),k=document.getElementById("key"),s=document.getElementById("copied");
if(navigator.clipboard){b.hidden=false;b.addEventListener("click",function(){navigator.clipboard.writeText(k.textContent).then(function(){s.textContent="Copied."},function(){s.textContent="The browser did not allow it: select the key and copy it."})})}
`

// hashSource returns the CSP source that allows exactly this text.
func hashSource(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var (
	styleSource  = hashSource(style)
	scriptSource = hashSource(script)
)

// pages are all pages. Each has a title, and what is in its main part.
var pages = template.Must(template.New("").Parse(`
{{define "head"}}<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{.Title}} – Weights &amp; Biases</title>
<style>` + style + `</style>
</head>
<body>
{{end}}

{{define "foot"}}{{with .RequestID}}<p class="faint">Request id: <code>{{.}}</code></p>
{{end}}</main>
</body>
</html>
{{end}}

{{define "alert"}}{{with .Alert}}<p class="alert" role="alert">{{.}}</p>
{{end}}{{end}}

{{define "hidden"}}<input type="hidden" name="token" value="{{.Token}}">
{{end}}

{{define "message"}}{{template "head" .}}<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{with .Link}}<p><a class="button" href="{{.}}">{{$.LinkText}}</a></p>
{{end}}{{template "foot" .}}{{end}}

{{define "signin"}}{{template "head" .}}<main>
<h1>{{.Title}}</h1>
{{template "alert" .}}{{with .Notice}}<p>{{.}}</p>
{{end}}{{with .ProviderLink}}<p><a class="button" href="{{.}}">Sign in with {{$.ProviderName}}</a></p>
{{end}}{{if and .ProviderLink .Form}}<p class="or">or with your directory password</p>
{{end}}{{if .Form}}<form method="post" action="/oidc/login">
{{template "hidden" .}}<input type="hidden" name="form" value="{{.Form}}">
<input type="hidden" name="return_to" value="{{.ReturnTo}}">
<label for="login">{{.LoginLabel}}</label>
<input id="login" type="text" name="login" value="{{.Login}}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="256" required{{if not .Login}} autofocus{{end}}>
<label for="password">{{.PasswordLabel}}</label>
<input id="password" type="password" name="password" autocomplete="current-password" maxlength="1024" required{{if .Login}} autofocus{{end}}>
<button>Sign in</button>
</form>
{{end}}{{template "foot" .}}{{end}}

{{define "teams"}}{{template "head" .}}<main>
<h1>{{.Title}}</h1>
{{template "alert" .}}<p>People with an e-mail address like yours may join these teams. You can do without, and be added to a team later.</p>
<form method="post" action="/oidc/login">
{{template "hidden" .}}<input type="hidden" name="form" value="teams">
<fieldset class="choices">
<legend>Teams</legend>
{{range .Teams}}<label class="choice"><input type="checkbox" name="team" value="{{.ID}}"> {{.Name}}</label>
{{end}}</fieldset>
<button>Go on</button>
</form>
{{template "foot" .}}{{end}}

{{define "signout"}}{{template "head" .}}<main>
<h1>{{.Title}}</h1>
{{template "alert" .}}<p>You are signed in as {{.Username}}. Your API keys go on working when you sign out.</p>
<form method="post" action="/logout">
<button>Sign out</button>
</form>
{{template "foot" .}}{{end}}

{{define "key"}}{{template "head" .}}<main class="wide">
<h1>{{.Title}}</h1>
<p>This is the only time that the key is shown. Paste it where <code>wandb login</code> asks for it.</p>
<code class="secret" id="key" tabindex="0" aria-label="API key">{{.Key}}</code>
<p><button type="button" id="copy" hidden>Copy</button></p>
<p id="copied" role="status"></p>
<p class="faint">Name: {{.Name}}, id: <code>{{.ID}}</code></p>
<p><a href="/authorize">Your API keys and sessions</a></p>
<script>` + script + `</script>
{{template "foot" .}}{{end}}

{{define "authorize"}}{{template "head" .}}<main class="wide">
<h1>{{.Title}}</h1>
{{template "alert" .}}<p>You are signed in as {{.Username}}{{with .Email}} ({{.}}){{end}}. <a href="/logout">Sign out</a></p>
<form method="post" action="/authorize">
{{template "hidden" .}}<input type="hidden" name="form" value="create">
<label for="name">Name of a new API key</label>
<input id="name" type="text" name="name" value="wandb login" maxlength="128" required>
<button>Make an API key</button>
</form>
<h2>Your API keys</h2>
{{if .Keys}}<ul>
{{range .Keys}}<li><div>{{or .Name "without a name"}}<br><span class="faint"><code>{{.ID}}</code>, made {{.Created}}{{with .Used}}, last used {{.}}{{end}}</span></div>
<form method="post" action="/authorize">
{{template "hidden" $}}<input type="hidden" name="form" value="delete">
<input type="hidden" name="id" value="{{.ID}}">
<button class="small plain" aria-label="Delete the API key {{.ID}}">Delete</button>
</form></li>
{{end}}</ul>
{{else}}<p class="faint">You have none.</p>
{{end}}{{with .MoreKeys}}<p class="faint">and {{.}} more</p>
{{end}}{{with .Upstream}}<h2>Your key of the W&amp;B server</h2>
<p>The W&amp;B server is asked with your own key, whichever of the keys above you use. Copy it from your settings at the server. It is kept sealed and never shown again.</p>
{{if .Set}}<ul>
<li><div>Stored<br><span class="faint">{{.Set}}</span></div>
<form method="post" action="/authorize">
{{template "hidden" $}}<input type="hidden" name="form" value="delete-upstream">
<button class="small plain" aria-label="Delete your key of the W&amp;B server">Delete</button>
</form></li>
</ul>
{{else}}<p class="faint">None is stored yet, and what you send to the server is refused until one is.</p>
{{end}}<form method="post" action="/authorize">
{{template "hidden" $}}<input type="hidden" name="form" value="set-upstream">
<label for="upstream-key">{{if .Set}}Another key of the W&amp;B server{{else}}Key of the W&amp;B server{{end}}</label>
<input id="upstream-key" type="password" name="key" autocomplete="off" spellcheck="false" maxlength="512" required>
<button>{{if .Set}}Replace the key{{else}}Store the key{{end}}</button>
</form>
{{end}}<h2>Your sessions</h2>
<ul>
{{range .Sessions}}<li><div>{{.UserAgent}}{{if .Here}} <strong>(this browser)</strong>{{end}}<br><span class="faint">{{with .Client}}{{.}}, {{end}}from {{.Created}} to {{.Expires}}</span></div>
<form method="post" action="/authorize">
{{template "hidden" $}}<input type="hidden" name="form" value="end">
<input type="hidden" name="id" value="{{.ID}}">
<button class="small plain" aria-label="End the session {{.ID}}">End</button>
</form></li>
{{end}}</ul>
{{template "foot" .}}{{end}}
`))

// head is what every page has. The zero value but for Title works.
type head struct {
	Title string
	// Alert is what went wrong, read out by screen readers.
	Alert string
	// Token goes into the page's forms.
	Token     string
	RequestID string
}

type messagePage struct {
	head
	Text           string
	Link, LinkText string
}

type signInPage struct {
	head
	Notice                     string
	ProviderLink, ProviderName string
	// Form is the kind of form: "" for none, formPassword or formRestore.
	Form, ReturnTo, Login     string
	LoginLabel, PasswordLabel string
}

type teamsView struct {
	head
	Teams []iam.TeamRef
}

type signOutPage struct {
	head
	Username string
}

type keyPage struct {
	head
	Key, Name string
	ID        iam.KeyID
}

// policy is what a page is allowed beside its style.
type policy struct {
	script bool
	// forms says where its forms may lead: 'none' if empty.
	forms string
	// framed allows anybody to frame it.
	framed bool
}

// onlyHere lets forms lead to this site.
const onlyHere = "'self'"

func (p policy) String() string {
	s := "default-src 'none'; style-src " + styleSource
	if p.script {
		s += "; script-src " + scriptSource
	}
	if p.forms == "" {
		p.forms = "'none'"
	}
	s += "; base-uri 'none'; form-action " + p.forms
	if p.framed {
		return s
	}
	return s + "; frame-ancestors 'none'"
}

// show answers with a page.
func (l *Login) show(w http.ResponseWriter, r *http.Request, status int, page string, p policy, data any) {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, page, data); err != nil {
		problem.From(err).WriteJSON(w)
		return
	}
	l.header(w, r, p)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

// header sets what every answer of a door has (threats O22).
func (l *Login) header(w http.ResponseWriter, r *http.Request, p policy) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", p.String())
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if !p.framed {
		h.Set("X-Frame-Options", "DENY")
	}
	if p.forms != "" && !l.trustworthy(r) {
		// With no-referrer a browser calls the origin of a form null, and where it sends no
		// Sec-Fetch-Site nothing would be left to tell our forms from others.
		h.Set("Referrer-Policy", "same-origin")
	}
}

// message answers with a page that has nothing but a text and a way on.
func (l *Login) message(w http.ResponseWriter, r *http.Request, status int, m messagePage) {
	if status >= http.StatusBadRequest {
		m.RequestID = l.RequestID(r)
	}
	l.show(w, r, status, "message", policy{}, m)
}

// refuse answers with a page that says why not. The text is the error's own.
func (l *Login) refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := problem.From(err)
	l.refuseWith(w, r, p.Status, p, p.Message)
}

// refuseWith does so with another status or text than the problem's.
func (l *Login) refuseWith(w http.ResponseWriter, r *http.Request, status int, p problem.Problem, text string) {
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(p.RetryAfter))
	}
	m := messagePage{head: head{Title: titleOf(status)}, Text: text}
	switch {
	case p.Status == http.StatusMisdirectedRequest, p.Status == http.StatusNotFound, p.Status == http.StatusMethodNotAllowed: // it would be the same again
	case r.URL.Path == authorizeDoor, r.URL.Path == logoutDoor:
		m.Link, m.LinkText = r.URL.Path, "Back"
	default:
		m.Link, m.LinkText = loginDoor, "Sign in again"
	}
	l.message(w, r, status, m)
}

func titleOf(status int) string {
	switch status {
	case http.StatusForbidden:
		return "This is not allowed"
	case http.StatusServiceUnavailable:
		return "This is not possible right now"
	case http.StatusTooManyRequests:
		return "Too many attempts"
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusConflict:
		return "This did not work"
	}
	return http.StatusText(status)
}
