package login

import "strings"

// The names in a User-Agent that say something to a person, the more telling first: every
// browser also names those that it wants to be taken for.
var (
	knownBrowsers = [][2]string{{"Edg", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}}
	knownSystems  = [][2]string{{"Windows", "Windows"}, {"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"CrOS", "ChromeOS"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"}}
)

// browserName is what a person calls the browser with this User-Agent, so as to know a session by it.
// Others are shown as they are.
func browserName(userAgent string) string {
	browser, system := firstOf(knownBrowsers, userAgent), firstOf(knownSystems, userAgent)
	switch {
	case userAgent == "":
		return "A browser"
	case browser == "" || !strings.HasPrefix(userAgent, "Mozilla/"):
		return userAgent
	case system == "":
		return browser
	}
	return browser + " on " + system
}

func firstOf(known [][2]string, userAgent string) string {
	for _, k := range known {
		if strings.Contains(userAgent, k[0]) {
			return k[1]
		}
	}
	return ""
}
