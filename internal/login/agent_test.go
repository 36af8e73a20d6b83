package login

import "testing"

func TestBrowserName(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36":                            "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0":    "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:153.0) Gecko/20100101 Firefox/153.0":                                             "Firefox on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile Safari/604.1": "Safari on iPhone",
		"Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36":                     "Chrome on Android",
		"Mozilla/5.0 (a toaster) Firefox/1.0": "Firefox",
		"Mozilla/5.0 (a toaster)":             "Mozilla/5.0 (a toaster)",
		"curl/8.0 (Linux) Chrome/1":           "curl/8.0 (Linux) Chrome/1",
		"":                                    "A browser",
	} {
		if got := browserName(agent); got != want {
			t.Errorf("%s is %q, want %q", agent, got, want)
		}
	}
}
