package wandb

import (
	"encoding/base64"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// ReasonIDMismatch says that a request names one place and carries the id of another.
const ReasonIDMismatch iam.Reason = "id_mismatch"

// maxIDBytes bounds an id; real ones stay below 400 bytes.
const maxIDBytes = 1 << 10

// ParseRunID reads the id of a run: base64 of Run:v1:<run>:<project>:<entity> (sdk-wire 4.4). Both
// alphabets are accepted, with or without padding, but nothing else: two ids that a lenient decoder
// would take for one must not be two here (threat G12). An id of another kind, or with another
// number of fields, is an error of iam.KindInvalid.
func ParseRunID(id string) (entity, project, run string, err error) {
	kind, rest, err := decodeID(id)
	if err != nil {
		return "", "", "", err
	}
	fields := strings.Split(rest, ":")
	if kind != "Run" || len(fields) != 4 || fields[0] != "v1" {
		return "", "", "", iam.Invalidf("the id is not that of a run")
	}
	run, project, entity = fields[1], fields[2], fields[3]
	if run == "" || !iam.ValidProjectName(project) || !iam.ValidName(entity) {
		return "", "", "", iam.Invalidf("the id of a run names no run")
	}
	return entity, project, run, nil
}

// FormatRunID writes what ParseRunID reads.
func FormatRunID(entity, project, run string) string {
	return base64.StdEncoding.EncodeToString([]byte("Run:v1:" + run + ":" + project + ":" + entity))
}

// decodeID decodes a node id and splits the type it starts with from the rest.
func decodeID(id string) (kind, rest string, err error) {
	if id == "" || len(id) > maxIDBytes {
		return "", "", iam.Invalidf("the id is empty or too long")
	}
	trimmed := strings.TrimRight(id, "=")
	if pad := len(id) - len(trimmed); pad > 0 && (pad > 2 || len(id)%4 != 0) {
		return "", "", iam.Invalidf("the id is not base64")
	}
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(trimmed, "-_") {
		encoding = base64.RawURLEncoding
	}
	// The decoder skips line breaks; an id has none.
	if strings.ContainsAny(trimmed, "\r\n") {
		return "", "", iam.Invalidf("the id is not base64")
	}
	decoded, err := encoding.Strict().DecodeString(trimmed)
	if err != nil {
		return "", "", iam.Invalidf("the id is not base64")
	}
	kind, rest, ok := strings.Cut(string(decoded), ":")
	if !ok || !isGraphQLName(kind) {
		return "", "", iam.Invalidf("the id names no type")
	}
	return kind, rest, nil
}

func isGraphQLName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' || i > 0 && '0' <= c && c <= '9') {
			return false
		}
	}
	return s != ""
}
