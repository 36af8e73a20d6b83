package ldap

import (
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// W&B's own variables (spec LDAP-3 to LDAP-9). They win over the file.
const (
	variableAddress    = "LOCAL_LDAP_ADDRESS"
	variableBaseDN     = "LOCAL_LDAP_BASE_DN"
	variableBindDN     = "LOCAL_LDAP_BIND_DN"
	variableBindPW     = "LOCAL_LDAP_BIND_PW"
	variableAttributes = "LOCAL_LDAP_ATTRIBUTES"
	variableTLS        = "LOCAL_LDAP_TLS_ENABLE"
	variableAllowList  = "LOCAL_LDAP_GROUP_ALLOW_LIST"
	variableLogin      = "LOCAL_LDAP_LOGIN"
)

// FromEnvironment returns base with the LOCAL_LDAP_ variables laid over it. login is what
// LOCAL_LDAP_LOGIN says, nil if it says nothing; used are the names of the variables that count, in a
// fixed order. An empty variable is unset. One with a bad value is an error of KindInvalid that names
// it, also where the rest is not configured; whether the whole makes sense, New tells.
func FromEnvironment(getenv func(string) string, base Config) (cfg Config, login *bool, used []string, err error) {
	cfg = base
	for _, v := range []struct {
		name string
		set  func(string) error
	}{
		{variableAddress, func(s string) error { cfg.Address = s; _, err := parseAddress(s); return err }},
		{variableBaseDN, cfg.setBaseDN},
		{variableBindDN, func(s string) error { cfg.BindDN = s; return nil }},
		{variableBindPW, func(s string) error { cfg.BindPassword = iam.NewSecret(s); return nil }},
		{variableAttributes, cfg.setAttributes},
		{variableTLS, func(s string) (err error) { cfg.StartTLS, err = parseBool(s); return err }},
		{variableAllowList, func(s string) (err error) { cfg.AllowList, err = ParseAllowList(s); return err }},
		{variableLogin, func(s string) error { on, err := parseBool(s); login = &on; return err }},
	} {
		value := getenv(v.name)
		if v.name != variableBindPW { // whose blanks count
			value = strings.TrimSpace(value)
		}
		if value == "" {
			continue
		}
		if err := v.set(value); err != nil {
			return base, nil, nil, iam.Invalidf("the variable %s is wrong: %v", v.name, err)
		}
		used = append(used, v.name)
	}
	return cfg, login, used, nil
}

func (cfg *Config) setBaseDN(s string) error {
	cfg.BaseDN = s
	if _, ok := parseDN(s); !ok {
		return iam.Invalidf("%q is no DN: give the one under which people are searched, such as dc=example,dc=com", s)
	}
	return nil
}

// setAttributes keeps what the text does not name.
func (cfg *Config) setAttributes(s string) error {
	email, group, err := ParseAttributes(s)
	if err != nil {
		return err
	}
	if email != "" {
		cfg.EmailAttribute = email
	}
	if group != "" {
		cfg.GroupAttribute = group
	}
	return nil
}

// parseBool reads true or false in any case, as W&B's documentation spells them in several.
func parseBool(s string) (bool, error) {
	on, err := strconv.ParseBool(strings.ToLower(s))
	if err != nil {
		return false, iam.Invalidf("%q is neither true nor false", s)
	}
	return on, nil
}

// ParseAttributes reads which attributes hold a person's e-mail address and groups, such as
// "email=mail, group=gidNumber" (LDAP-6). What is not named is empty.
func ParseAttributes(s string) (email, group string, err error) {
	if len(s) > maxFilterBytes {
		return "", "", iam.Invalidf("the attributes have %d bytes, %d are allowed", len(s), maxFilterBytes)
	}
	for part := range strings.SplitSeq(s, ",") {
		key, name, found := strings.Cut(part, "=")
		key, name = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(name)
		if !found || !validAttribute(name) {
			return "", "", iam.Invalidf("the attributes %q are not as in email=mail,group=memberOf: %q names no attribute", s, strings.TrimSpace(part))
		}
		place := &email
		switch key {
		case "email":
		case "group":
			place = &group
		default:
			return "", "", iam.Invalidf("the attributes %q are not as in email=mail,group=memberOf: there is no %q", s, key)
		}
		if *place != "" {
			return "", "", iam.Invalidf("the attributes %q name %s twice", s, key)
		}
		*place = name
	}
	return email, group, nil
}
