package caddymodule

import (
	"encoding/json"
	"testing"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		text  string
		want  Size
		shown string // "" if the text is refused
	}{
		{"256MiB", 256 << 20, "256MiB"},
		{"256 MiB", 256 << 20, "256MiB"},
		{"1024MiB", 1 << 30, "1GiB"},
		{"1GB", 1e9, "1000000000B"},
		{"16777216B", 16 << 20, "16MiB"},
		{"0B", 0, "0B"},
		{"8388607TiB", 8388607 << 40, "8388607TiB"},
		{"8388608TiB", 0, ""},
		{"18446744073709551617B", 0, ""},
		{"256", 0, ""},
		{"MiB", 0, ""},
		{"+1MiB", 0, ""},
		{"-1MiB", 0, ""},
		{"1.5GiB", 0, ""},
		{"1mib", 0, ""},
		{"1MiBB", 0, ""},
		{"0x10MiB", 0, ""},
		{"", 0, ""},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := parseSize(test.text)
			if (err != nil) != (test.shown == "") || err == nil && (got != test.want || got.String() != test.shown) {
				t.Errorf("got %d, %s, %v", got, got, err)
			}
		})
	}
}

// What a size is shown as must be read as that size.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"256MiB", "1GB", "9223372036854775807B", "-1MiB", "1KiBMiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		size, err := parseSize(s)
		if err != nil {
			return
		}
		if again, err := parseSize(size.String()); err != nil || again != size || size < 0 {
			t.Errorf("%q is %d, shown as %s, read as %d, %v", s, size, size, again, err)
		}
		b, err := json.Marshal(size)
		var read Size
		if err != nil || json.Unmarshal(b, &read) != nil || read != size {
			t.Errorf("%d is %s in JSON, read as %d", size, b, read)
		}
	})
}
