package caddymodule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login"
	"github.com/wandb-gateway/wandb-gateway/internal/login/ldap"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// OIDC is the OpenID provider at which people sign in (OIDC-1 to OIDC-26).
type OIDC struct {
	// Issuer is the provider's issuer, as its discovery document names it.
	Issuer string `json:"issuer,omitempty"`
	// ClientID is what the provider calls the gateway.
	ClientID string `json:"client_id,omitempty"`
	// ClientSecret proves the gateway to the provider; a public client has none.
	ClientSecret string `json:"client_secret,omitempty"`
	// AuthMethod is `implicit` (the ID token by form_post, W&B's default) or `pkce`.
	AuthMethod string `json:"auth_method,omitempty"`
	// Scopes are asked for beside openid, profile and email.
	Scopes []string `json:"scopes,omitempty"`
	// GroupsClaim is the claim that lists a person's groups. Default: groups.
	GroupsClaim string `json:"groups_claim,omitempty"`
	// RedirectHosts are the hosts, host[:port], on which people sign in; each is registered at the
	// provider, and the one of the variable HOST with them. Default: the addresses of the sites.
	RedirectHosts []string `json:"redirect_hosts,omitempty"`
	// TLSCA is a file of certificates to trust for the provider, in place of the system's.
	TLSCA string `json:"tls_ca,omitempty"`
}

// LDAP is the directory with whose passwords people sign in (LDAP-1 to LDAP-13).
type LDAP struct {
	// Address is ldap://host[:port], ldaps://host[:port], or host[:port].
	Address string `json:"address,omitempty"`
	// BaseDN is where people are searched for.
	BaseDN string `json:"base_dn,omitempty"`
	// BindDN and BindPassword are the account that searches; anonymous if one is missing.
	BindDN       string `json:"bind_dn,omitempty"`
	BindPassword string `json:"bind_password,omitempty"`
	// Attributes names the attributes of e-mail address and groups. Default: email=mail,group=memberOf.
	Attributes string `json:"attributes,omitempty"`
	// TLS secures an ldap:// address with StartTLS.
	TLS Switch `json:"tls,omitempty"`
	// GroupAllowList says whose members may sign in: names by comma, or DNs by semicolon.
	GroupAllowList string `json:"group_allow_list,omitempty"`
	// GroupSync makes membership in teams follow the groups. Default: off.
	GroupSync Switch `json:"group_sync,omitempty"`
	// Login lets people sign in with it; off, it is only tested. Default: on.
	Login *Switch `json:"login,omitempty"`
	// Filter finds a person's entry; {login} stands for what they typed.
	Filter string `json:"filter,omitempty"`
	// TLSCA is a file of certificates to trust for the directory, in place of the system's.
	TLSCA string `json:"tls_ca,omitempty"`
	// InsecureCleartext lets passwords go in clear text, to this machine only.
	InsecureCleartext bool `json:"insecure_cleartext,omitempty"`
}

// SessionConfig says how long browsers stay signed in.
type SessionConfig struct {
	// Length is a session's life from sign-in on, whatever happens in between. Default: 720h.
	Length caddy.Duration `json:"length,omitempty"`
}

// Domain says which teams people of one e-mail domain join when they first sign in (JOIN-6 to JOIN-9).
type Domain struct {
	Name string `json:"name"`
	// DefaultTeam is joined by everybody.
	DefaultTeam string `json:"default_team,omitempty"`
	// Teams are offered to choose from.
	Teams []string `json:"teams,omitempty"`
}

// signIn is how people sign in, after file and environment were read.
type signIn struct {
	oidc     *oidc.Config // nil without a provider; without what stands in files
	ldap     *ldap.Config // nil without a directory; likewise
	password bool         // people sign in with the directory's passwords
	hosts    []string     // redirect_hosts, and that of the variable HOST
	sites    bool         // the sites' own hosts too, for want of redirect_hosts
	host     string       // of the variable HOST
	length   time.Duration
	settings login.Settings
	restore  bool
}

// configured reports whether anybody can sign in.
func (s *signIn) configured() bool { return s.oidc != nil || s.password || s.restore }

// readSignIn takes the file's values, then W&B's own variables, checks them, and says in the log which
// came from where.
func (a *App) readSignIn(e *environment) (*signIn, error) {
	s := &signIn{
		length: time.Duration(a.Session.Length),
		settings: login.Settings{
			Provision: a.SSOProvisioning == nil || bool(*a.SSOProvisioning), OIDCGroups: bool(a.SSOGroupClaims), ForceNames: bool(a.IdentifierClaims),
		},
	}
	var hours, exact time.Duration // two spellings that are written differently
	err := cmp.Or(
		s.readOIDC(a.OIDC, e),
		s.readLDAP(a.LDAP, e),
		read(e, "session length", &hours, asHours, "SESSION_LENGTH"),
		read(e, "session length", &exact, asDuration, "GORILLA_SESSION_LENGTH"),
		read(e, "sso_provisioning", &s.settings.Provision, asOff, "DISABLE_SSO_PROVISIONING", "GORILLA_DISABLE_SSO_PROVISIONING"),
		read(e, "sso_group_claims", &s.settings.OIDCGroups, asSwitch, "GORILLA_ENABLE_SSO_GROUP_CLAIMS", "GORILLA_ENABLE_SSO_GROUPS_CLAIMS"),
		read(e, "identifier_claims", &s.settings.ForceNames, asSwitch, "GORILLA_USE_IDENTIFIER_CLAIMS"),
		read(e, "restore", &s.restore, asSwitch, "LOCAL_RESTORE"),
		read(e, "host", &s.host, asHost, "HOST"),
		s.readDomains(a.Domains),
	)
	if err != nil {
		return nil, err
	}
	if hours != 0 && exact != 0 && hours != exact {
		return nil, differ("SESSION_LENGTH", "GORILLA_SESSION_LENGTH")
	}
	s.length = cmp.Or(hours, exact, s.length)
	s.sites = len(s.hosts) == 0
	if s.host != "" {
		s.hosts = append(slices.Clone(s.hosts), s.host)
	}
	if s.configured() {
		a.logger.Info("how people sign in", s.sources(a, e)...)
	}
	return s, nil
}

func (s *signIn) readOIDC(file *OIDC, e *environment) error {
	var c OIDC
	if file != nil {
		c = *file
	}
	scopes := ""
	err := cmp.Or(
		read(e, "oidc issuer", &c.Issuer, asText, "OIDC_ISSUER", "GORILLA_OIDC_ISSUER"),
		read(e, "oidc client_id", &c.ClientID, asText, "OIDC_CLIENT_ID", "GORILLA_OIDC_CLIENT_ID"),
		read(e, "oidc client_secret", &c.ClientSecret, asText, "GORILLA_OIDC_SECRET", "OIDC_SECRET", "OIDC_CLIENT_SECRET", "GORILLA_OIDC_CLIENT_SECRET"),
		read(e, "oidc auth_method", &c.AuthMethod, asMethod, "OIDC_AUTH_METHOD", "GORILLA_AUTH_METHOD"),
		read(e, "oidc scopes", &scopes, asText, "GORILLA_OIDC_CUSTOM_SCOPES"),
	)
	if err != nil {
		return err
	}
	if scopes != "" {
		c.Scopes = fields(scopes)
	}
	switch {
	case c.Issuer == "" && file == nil:
		return nil
	case c.Issuer == "":
		return iam.Invalidf("oidc needs the provider's issuer: write `issuer https://...` into its block, or set OIDC_ISSUER")
	case c.ClientID == "":
		missing := "write `client_id ...` into its block, or set OIDC_CLIENT_ID"
		if variable := e.from["oidc issuer"]; variable != "" {
			missing = "set OIDC_CLIENT_ID beside " + variable
		}
		return iam.Invalidf("oidc needs the client id that the provider gave to the gateway: %s", missing)
	}
	method, err := oidc.ParseMethod(c.AuthMethod)
	if err != nil {
		return err
	}
	s.oidc = &oidc.Config{
		Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: iam.NewSecret(c.ClientSecret), Method: method, Scopes: c.Scopes, GroupsClaim: c.GroupsClaim,
	}
	s.hosts = c.RedirectHosts
	checked, err := oidc.New(*s.oidc)
	if err != nil {
		return fmt.Errorf("oidc: %w", err)
	}
	checked.Close()
	return login.CheckHosts(s.hosts)
}

func asMethod(s string) (string, error) {
	method, err := oidc.ParseMethod(s)
	return method.String(), err
}

func (s *signIn) readLDAP(file *LDAP, e *environment) error {
	var c ldap.Config
	s.password = true
	if file != nil {
		var err error
		if c, err = file.config(); err != nil {
			return err
		}
		s.password = file.Login == nil || bool(*file.Login)
		s.settings.LDAPGroups = bool(file.GroupSync)
	}
	c, on, used, err := ldap.FromEnvironment(e.getenv, c)
	if err != nil {
		return err
	}
	for _, name := range used {
		e.from["ldap "+strings.ToLower(strings.TrimPrefix(name, "LOCAL_LDAP_"))] = name
	}
	if on != nil {
		s.password = *on
	}
	if err := read(e, "ldap group_sync", &s.settings.LDAPGroups, asSwitch, "GORILLA_LDAP_GROUP_SYNC"); err != nil {
		return err
	}
	if file == nil && c.Address == "" {
		s.password = false
		return nil
	}
	if _, err := ldap.New(c); err != nil {
		return fmt.Errorf("ldap: %w", err)
	}
	s.ldap = &c
	return nil
}

// config is the directory without what stands in files.
func (l *LDAP) config() (ldap.Config, error) {
	c := ldap.Config{
		Address: l.Address, BaseDN: l.BaseDN, BindDN: l.BindDN, BindPassword: iam.NewSecret(l.BindPassword),
		StartTLS: bool(l.TLS), Filter: l.Filter, InsecureCleartext: l.InsecureCleartext,
	}
	var err error
	if l.Attributes != "" {
		if c.EmailAttribute, c.GroupAttribute, err = ldap.ParseAttributes(l.Attributes); err != nil {
			return c, fmt.Errorf("ldap attributes: %w", err)
		}
	}
	if c.AllowList, err = ldap.ParseAllowList(l.GroupAllowList); err != nil {
		return c, fmt.Errorf("ldap group_allow_list: %w", err)
	}
	return c, nil
}

func (s *signIn) readDomains(domains []*Domain) error {
	for _, d := range domains {
		if d == nil { // JSON's null
			return iam.Invalidf("a domain is null; write an object with its name")
		}
		if !validDomain(d.Name) {
			return iam.Invalidf("domain %q is not the part of an e-mail address behind the @, such as acme.com", d.Name)
		}
		if slices.ContainsFunc(s.settings.Domains, func(other directory.Domain) bool { return strings.EqualFold(other.Name, d.Name) }) {
			return iam.Invalidf("domain %s stands twice; keep one", d.Name)
		}
		for _, team := range append([]string{d.DefaultTeam}, d.Teams...) {
			if team != "" && !iam.ValidName(team) {
				return iam.Invalidf("domain %s: %q is not the name of a team", d.Name, team)
			}
		}
		s.settings.Domains = append(s.settings.Domains, directory.Domain{Name: d.Name, DefaultTeam: d.DefaultTeam, Choose: d.Teams})
	}
	return nil
}

func validDomain(s string) bool {
	return iam.ValidName(s) && !strings.Contains(s, "@") && !strings.Contains(s, "_")
}

// sources says for each setting of sign-in where it came from. No value is shown that could be a secret.
func (s *signIn) sources(a *App, e *environment) []zap.Field {
	fields := []zap.Field{
		zap.Bool("identifier_claims", s.settings.ForceNames), zap.String("identifier_claims_from", e.source("identifier_claims", bool(a.IdentifierClaims))),
		zap.String("host", s.host), zap.String("host_from", e.source("host", false)),
		zap.Int("domains", len(s.settings.Domains)),
		zap.Duration("session_length", cmp.Or(s.length, session.DefaultLength)),
		zap.String("session_length_from", e.source("session length", a.Session.Length != 0)),
		zap.Bool("provisioning", s.settings.Provision), zap.String("provisioning_from", e.source("sso_provisioning", a.SSOProvisioning != nil)),
		zap.Bool("group_claims", s.settings.OIDCGroups), zap.String("group_claims_from", e.source("sso_group_claims", bool(a.SSOGroupClaims))),
	}
	if s.oidc != nil {
		in := a.OIDC
		if in == nil {
			in = new(OIDC)
		}
		fields = append(fields,
			zap.String("oidc_issuer", s.oidc.Issuer), zap.String("oidc_issuer_from", e.source("oidc issuer", in.Issuer != "")),
			zap.String("oidc_client_id", s.oidc.ClientID), zap.String("oidc_client_id_from", e.source("oidc client_id", in.ClientID != "")),
			zap.String("oidc_client_secret_from", e.source("oidc client_secret", in.ClientSecret != "")),
			zap.Stringer("oidc_auth_method", s.oidc.Method), zap.String("oidc_auth_method_from", e.source("oidc auth_method", in.AuthMethod != "")),
			zap.Strings("oidc_scopes", s.oidc.Scopes), zap.String("oidc_scopes_from", e.source("oidc scopes", len(in.Scopes) > 0)),
		)
	}
	if s.ldap != nil {
		in := a.LDAP
		if in == nil {
			in = new(LDAP)
		}
		fields = append(fields,
			zap.String("ldap_address", s.ldap.Address), zap.String("ldap_address_from", e.source("ldap address", in.Address != "")),
			zap.String("ldap_base_dn", s.ldap.BaseDN), zap.String("ldap_base_dn_from", e.source("ldap base_dn", in.BaseDN != "")),
			zap.String("ldap_bind_dn", s.ldap.BindDN), zap.String("ldap_bind_dn_from", e.source("ldap bind_dn", in.BindDN != "")),
			zap.String("ldap_bind_password_from", e.source("ldap bind_pw", in.BindPassword != "")),
			zap.String("ldap_attributes_from", e.source("ldap attributes", in.Attributes != "")),
			zap.Bool("ldap_tls", s.ldap.StartTLS), zap.String("ldap_tls_from", e.source("ldap tls_enable", bool(in.TLS))),
			zap.String("ldap_group_allow_list_from", e.source("ldap group_allow_list", in.GroupAllowList != "")),
			zap.Bool("ldap_group_sync", s.settings.LDAPGroups), zap.String("ldap_group_sync_from", e.source("ldap group_sync", bool(in.GroupSync))),
			zap.Bool("ldap_login", s.password), zap.String("ldap_login_from", e.source("ldap login", in.Login != nil)),
		)
	}
	if s.restore {
		fields = append(fields, zap.String("restore_from", "LOCAL_RESTORE"))
	}
	return fields
}

// signInValues are the settings of sign-in in which placeholders may stand.
func (a *App) signInValues() []namedValue {
	var values []namedValue
	if o := a.OIDC; o != nil {
		values = append(values, namedValue{"oidc issuer", &o.Issuer}, namedValue{"oidc client_id", &o.ClientID},
			namedValue{"oidc client_secret", &o.ClientSecret}, namedValue{"oidc auth_method", &o.AuthMethod}, namedValue{"oidc tls_ca", &o.TLSCA})
		for i := range o.RedirectHosts {
			values = append(values, namedValue{"oidc redirect_hosts", &o.RedirectHosts[i]})
		}
	}
	if l := a.LDAP; l != nil {
		values = append(values, namedValue{"ldap address", &l.Address}, namedValue{"ldap base_dn", &l.BaseDN}, namedValue{"ldap bind_dn", &l.BindDN},
			namedValue{"ldap bind_password", &l.BindPassword}, namedValue{"ldap tls_ca", &l.TLSCA}, namedValue{"ldap group_allow_list", &l.GroupAllowList})
	}
	return values
}

// namedValue is a setting with the name that messages give it.
type namedValue struct {
	name  string
	value *string
}

// parseOIDC reads `oidc { issuer ...; client_id ...; client_secret ...; auth_method ...; scopes ...;
// groups_claim ...; redirect_hosts ...; tls_ca ... }`.
func (a *App) parseOIDC(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("oidc takes its options in a block, not %q", d.Val())
	}
	a.OIDC = new(OIDC)
	err := eachOption(d, options{
		"issuer":         text(&a.OIDC.Issuer),
		"client_id":      text(&a.OIDC.ClientID),
		"client_secret":  text(&a.OIDC.ClientSecret),
		"auth_method":    oneOf(&a.OIDC.AuthMethod, "pkce", "implicit"),
		"scopes":         texts(&a.OIDC.Scopes),
		"groups_claim":   text(&a.OIDC.GroupsClaim),
		"redirect_hosts": texts(&a.OIDC.RedirectHosts),
		"tls_ca":         text(&a.OIDC.TLSCA),
	})
	if err == nil && a.OIDC.isZero() {
		err = d.Err("oidc needs a block with issuer and client_id")
	}
	return err
}

func (o *OIDC) isZero() bool {
	return o.Issuer == "" && o.ClientID == "" && o.ClientSecret == "" && o.AuthMethod == "" && len(o.Scopes) == 0 && o.GroupsClaim == "" && len(o.RedirectHosts) == 0 && o.TLSCA == ""
}

// parseLDAP reads the block of a directory.
func (a *App) parseLDAP(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("ldap takes its options in a block, not %q", d.Val())
	}
	a.LDAP = new(LDAP)
	loginSwitch := new(Switch)
	err := eachOption(d, options{
		"address":            text(&a.LDAP.Address),
		"base_dn":            text(&a.LDAP.BaseDN),
		"bind_dn":            text(&a.LDAP.BindDN),
		"bind_password":      text(&a.LDAP.BindPassword),
		"attributes":         list(&a.LDAP.Attributes),
		"tls":                onOff(&a.LDAP.TLS),
		"group_allow_list":   list(&a.LDAP.GroupAllowList),
		"group_sync":         onOff(&a.LDAP.GroupSync),
		"filter":             text(&a.LDAP.Filter),
		"tls_ca":             text(&a.LDAP.TLSCA),
		"insecure_cleartext": bare(&a.LDAP.InsecureCleartext),
		"login": func(d *caddyfile.Dispenser) error {
			a.LDAP.Login = loginSwitch
			return onOff(loginSwitch)(d)
		},
	})
	if err == nil && *a.LDAP == (LDAP{}) {
		err = d.Err("ldap needs a block with address and base_dn")
	}
	return err
}

// list reads arguments that belong to one text, such as `email=mail, group=memberOf`.
func list(into *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var parts []string
		if err := texts(&parts)(d); err != nil {
			return err
		}
		*into = strings.Join(parts, " ")
		return nil
	}
}

// bare reads an option without a value.
func bare(into *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if d.NextArg() {
			return d.Errf("insecure_cleartext takes no value, not %q", d.Val())
		}
		*into = true
		return nil
	}
}

// parseSession reads `session { length <duration> }`.
func (a *App) parseSession(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("session takes its options in a block, such as `session { length 720h }`, not %q", d.Val())
	}
	a.Session = new(SessionConfig)
	err := eachOption(d, options{"length": duration(&a.Session.Length, checkSessionLength)})
	if err == nil && a.Session.Length == 0 {
		err = d.Err("session needs a block, such as `session { length 720h }`")
	}
	return err
}

func checkSessionLength(name string, d time.Duration) error {
	if d <= 0 {
		return iam.Invalidf("session %s %s is not positive", name, d)
	}
	return nil
}

// parseDomain reads `domain <name> { default_team <team>; teams <team...> }`.
func (a *App) parseDomain(d *caddyfile.Dispenser) error {
	domain := new(Domain)
	if err := text(&domain.Name)(d); err != nil {
		return err
	}
	a.Domains = append(a.Domains, domain)
	return eachOption(d, options{"default_team": text(&domain.DefaultTeam), "teams": texts(&domain.Teams)})
}

func (a *App) parseSSOProvisioning(d *caddyfile.Dispenser) error {
	a.SSOProvisioning = new(Switch)
	return onOff(a.SSOProvisioning)(d)
}
