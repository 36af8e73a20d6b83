package caddymodule

import (
	"bytes"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Switch is a setting that is on or off. In JSON it is also read from true and false.
type Switch bool

// parseSwitch reads on or off.
func parseSwitch(s string) (Switch, error) {
	switch s {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, iam.Invalidf("%q is neither on nor off", s)
}

// MarshalJSON implements json.Marshaler.
func (s Switch) MarshalJSON() ([]byte, error) { return json.Marshal(bool(s)) }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Switch) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		value, err := parseSwitch(text)
		*s = value
		return err
	}
	var value bool
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&value); err != nil {
		return iam.Invalidf("%s is neither true, false, \"on\" nor \"off\"", b)
	}
	*s = Switch(value)
	return nil
}
