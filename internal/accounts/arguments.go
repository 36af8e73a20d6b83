package accounts

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// arguments are the members of a field's input, by name. Null and absent are the same.
type arguments map[string]any

// readArguments takes the members that the field has and no others: what is not known is refused, so that
// nobody believes it did something, and nothing comes along unseen (threat S02).
func readArguments(f wandb.Root, r root) (arguments, error) {
	in := f.Args
	if !r.query {
		for name := range f.Args {
			if name != "input" {
				return nil, iam.Invalidf("%s does not take the argument %s", f.Name, untrusted.Quote(name))
			}
		}
		var ok bool
		if in, ok = f.Args["input"].(map[string]any); !ok {
			return nil, iam.Invalidf("%s needs the argument input, an object", f.Name)
		}
	}
	for name := range in {
		if !slices.Contains(r.input, name) {
			return nil, iam.Invalidf("%s does not take %s", f.Name, untrusted.Quote(name))
		}
	}
	return in, nil
}

// maxFields bounds what is selected below a field that is answered here: each field may stand in the answer as
// often as there are people. Clients select some twenty.
const maxFields = 100

// checkFields refuses a selection of more.
func checkFields(fields []wandb.Field) error {
	if countFields(fields) <= maxFields {
		return nil
	}
	return &iam.Error{Kind: iam.KindTooLarge, Reason: wandb.ReasonTooCostly,
		Message: "the request selects more than " + strconv.Itoa(maxFields) + " fields of people, members or keys: send it in parts"}
}

func countFields(fields []wandb.Field) int {
	n := len(fields)
	for i := range fields {
		n += countFields(fields[i].Fields)
	}
	return n
}

// text returns a member that is a string; "" if it is not given.
func (in arguments) text(name string) (string, error) {
	switch value := in[name].(type) {
	case nil:
		return "", nil
	case string:
		return value, nil
	default:
		return "", iam.Invalidf("%s must be a string", name)
	}
}

// required is text for a member that must be given.
func (in arguments) required(name string) (string, error) {
	value, err := in.text(name)
	if err == nil && value == "" {
		err = iam.Invalidf("%s must be given", name)
	}
	return value, err
}

// truth returns a member that is true or false; false if it is not given.
func (in arguments) truth(name string) (bool, error) {
	switch value := in[name].(type) {
	case nil:
		return false, nil
	case bool:
		return value, nil
	default:
		return false, iam.Invalidf("%s must be true or false", name)
	}
}

// count returns a member that is a whole number from 1 to most; most if it is not given.
func (in arguments) count(name string, most int) (int, error) {
	switch value := in[name].(type) {
	case nil:
		return most, nil
	case json.Number:
		if n, err := strconv.Atoi(value.String()); err == nil && n >= 1 && n <= most {
			return n, nil
		}
	}
	return 0, iam.Invalidf("%s must be a whole number from 1 to %d", name, most)
}
