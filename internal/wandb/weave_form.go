package wandb

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"regexp"
	"slices"
)

// formPart is the one form of Content-Disposition that every reader takes the same way: nothing
// escaped, the field's name first and once (RFC 7578 section 4.2).
var formPart = regexp.MustCompile(`^form-data; name="(project_id|expected_digest|file)"(?:; filename\*?=(?:"[^"\\]*"|[^"\\; ]+)){0,2}$`)

// maxFormField bounds the fields beside the file.
const maxFormField = 1 << 10

// readForm takes the project from an uploaded form: the fields project_id, expected_digest and file,
// each at most once.
func (f *weaveFound) readForm(contentType string, body []byte) error {
	media, params, err := mime.ParseMediaType(contentType)
	boundary := params["boundary"]
	if err != nil || media != "multipart/form-data" || boundary == "" || len(params) != 1 {
		return weaveInvalid(ReasonUnsupportedMediaType, "send the file as multipart/form-data")
	}
	// Readers differ in what they take before the first boundary and for line ends.
	if !bytes.HasPrefix(body, []byte("--"+boundary+"\r\n")) {
		return malformedForm("it does not begin with its boundary")
	}
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	var seen []string
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return malformedForm("it has a part that cannot be read")
		}
		name, err := fieldName(part)
		if err != nil {
			return err
		}
		if slices.Contains(seen, name) {
			return malformedForm("it has a field twice")
		}
		seen = append(seen, name)
		if err := f.readField(name, part); err != nil {
			return err
		}
	}
	if !endsForm(body, boundary) {
		return malformedForm("something follows its last boundary")
	}
	return nil
}

// fieldName returns the name of a form's part, if every reader takes the part the same way.
func fieldName(part *multipart.Part) (string, error) {
	for header := range part.Header {
		if header != "Content-Disposition" && header != "Content-Type" && header != "Content-Length" {
			return "", malformedForm("a part has a header that is not expected")
		}
	}
	disposition := part.Header["Content-Disposition"]
	if len(disposition) != 1 {
		return "", malformedForm("a part has no Content-Disposition, or several")
	}
	match := formPart.FindStringSubmatch(disposition[0])
	if match == nil {
		return "", malformedForm("it may have the fields project_id, expected_digest and file, unescaped, and no others")
	}
	return match[1], nil
}

func (f *weaveFound) readField(name string, part io.Reader) error {
	if name == "file" {
		_, err := io.Copy(io.Discard, part)
		if err != nil {
			return malformedForm("the file does not end")
		}
		return nil
	}
	value, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
	if err != nil || len(value) > maxFormField {
		return malformedForm("a field is too long or does not end")
	}
	if name != memberProjectID {
		return nil
	}
	return f.projectID(string(value), shapeAnchorID)
}

// endsForm reports whether nothing but a line end follows the first end of the form.
func endsForm(body []byte, boundary string) bool {
	_, after, ok := bytes.Cut(body, []byte("\r\n--"+boundary+"--"))
	return ok && (len(after) == 0 || string(after) == "\r\n")
}

func malformedForm(why string) error {
	return weaveInvalid(ReasonMalformedForm, "the form cannot be judged: %s", why)
}
