package caddymodule

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Size is a number of bytes. In JSON it is also read from a text with a unit, such as "256MiB".
type Size int64

// units of sizes, the longer names first, for B ends them all.
var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"B", 1},
}

// parseSize reads a whole number with its unit. A number alone is refused: whoever writes 256 has
// hardly that many bytes in mind.
func parseSize(s string) (Size, error) {
	for _, unit := range units {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 63)
		if err != nil || n > uint64(math.MaxInt64/unit.bytes) {
			break
		}
		return Size(int64(n) * unit.bytes), nil
	}
	return 0, iam.Invalidf("%q is not a size such as 256MiB", s)
}

// String is the size in the largest binary unit that leaves no rest.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if n := int64(s); n != 0 && n%units[i].bytes == 0 {
			return strconv.FormatInt(n/units[i].bytes, 10) + units[i].name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		size, err := parseSize(text)
		*s = size
		return err
	}
	var n int64
	if err := json.Unmarshal(b, &n); err != nil {
		return iam.Invalidf("%s is not a number of bytes, nor a size such as \"256MiB\"", b)
	}
	*s = Size(n)
	return nil
}
