package wandb

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
)

// readExport takes the projects from an OTLP export (ExportTraceServiceRequest in protobuf, the only
// form the trace server takes). Each resource may say its own by the attributes wandb.entity and
// wandb.project, which win over the header project_id; all of them are judged.
func (f *weaveFound) readExport(r WeaveRequest) error {
	switch r.ContentType {
	case "application/x-protobuf", "application/protobuf":
	default:
		return weaveInvalid(ReasonUnsupportedMediaType, "send the export as application/x-protobuf")
	}
	header, err := f.readExportHeader(r.Header)
	if err != nil {
		return err
	}
	body, err := decompressExport(r.Header, r.Body)
	if err != nil {
		return err
	}
	return eachField(body, func(number uint64, value []byte) error {
		if number != 1 { // resource_spans
			return nil
		}
		p, err := resourceProject(value)
		if err != nil {
			return err
		}
		return f.addResource(p, header)
	})
}

// readExportHeader returns the project in the headers; empty if there is none. Some servers take a
// hyphen for an underscore.
func (f *weaveFound) readExportHeader(h http.Header) (weaveProject, error) {
	values := slices.Concat(h.Values("project_id"), h.Values("project-id"))
	if len(values) == 0 {
		return weaveProject{}, nil
	}
	for _, value := range values {
		if value != values[0] {
			return weaveProject{}, weaveInvalid(ReasonConflictingProjects, "the headers name two projects")
		}
	}
	if err := f.projectID(values[0], shapeElementID); err != nil {
		return weaveProject{}, err
	}
	return f.elements[0], nil
}

// addResource takes what a resource says of its project; what it does not say, the header does.
func (f *weaveFound) addResource(p, header weaveProject) error {
	if p.entity == "" {
		p.entity = header.entity
	}
	if p.name == "" {
		p.name = header.name
	}
	if p.entity == "" || p.name == "" {
		return weaveInvalid(ReasonMissingProject,
			"a resource names no project; set the resource attributes wandb.entity and wandb.project, or the header project_id to entity/project")
	}
	if !p.valid() {
		return weaveInvalid(ReasonMalformedProject, "the attributes wandb.entity and wandb.project do not name a project")
	}
	f.element(p)
	return nil
}

// decompressExport undoes the encodings that OTLP exporters use.
func decompressExport(h http.Header, body []byte) ([]byte, error) {
	var reader io.Reader
	var err error
	switch encoding := strings.ToLower(strings.Join(h.Values("Content-Encoding"), ",")); encoding {
	case "", "identity":
		return body, nil
	case "gzip":
		reader, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate": // which is the zlib format (RFC 9110 section 8.4.1.2)
		reader, err = zlib.NewReader(bytes.NewReader(body))
	default:
		return nil, weaveInvalid(ReasonUnsupportedEncoding, "send the export plain or with Content-Encoding gzip or deflate")
	}
	if err != nil {
		return nil, malformedExport()
	}
	plain, err := io.ReadAll(io.LimitReader(reader, MaxWeaveBodyBytes+1))
	switch {
	case err != nil:
		return nil, malformedExport()
	case len(plain) > MaxWeaveBodyBytes:
		return nil, weaveTooLarge()
	}
	return plain, nil
}

// The attributes that route a resource.
const (
	attributeEntity  = "wandb.entity"
	attributeProject = "wandb.project"
)

// resourceProject reads ResourceSpans.resource.attributes. A message that comes in several pieces is
// the sum of them (protobuf's rule), so that all pieces are read.
func resourceProject(resourceSpans []byte) (weaveProject, error) {
	var p weaveProject
	err := eachField(resourceSpans, func(number uint64, resource []byte) error {
		if number != 1 {
			return nil
		}
		return eachField(resource, func(number uint64, attribute []byte) error {
			if number != 1 {
				return nil
			}
			return p.takeAttribute(attribute)
		})
	})
	return p, err
}

// takeAttribute reads a KeyValue, of which only a text under one of our two keys counts, once.
func (p *weaveProject) takeAttribute(keyValue []byte) error {
	var key string
	var value []byte
	var keys, values int
	err := eachField(keyValue, func(number uint64, b []byte) error {
		switch number {
		case 1:
			key = string(b[:min(len(b), 64)])
			keys++
		case 2:
			value = b
			values++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if keys > 1 {
		return malformedExport()
	}
	into := &p.entity
	switch key {
	case attributeEntity:
	case attributeProject:
		into = &p.name
	default:
		return nil
	}
	text, ok := anyText(value)
	if values != 1 || !ok || *into != "" {
		return weaveInvalid(ReasonMalformedProject, "the attribute %s must be one text", key)
	}
	*into = text
	return nil
}

// anyText reads an AnyValue that holds nothing but a text that is not empty.
func anyText(anyValue []byte) (string, bool) {
	var text string
	fields := 0
	err := eachField(anyValue, func(number uint64, b []byte) error {
		fields++
		if number == 1 {
			text = string(b)
		}
		return nil
	})
	return text, err == nil && fields == 1 && text != ""
}

// Wire types of protobuf's encoding.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// eachField calls take for every field of a protobuf message, with the bytes of those that are
// strings, bytes or messages and nil for numbers. It does not look into fields by itself, so that
// nesting costs nothing.
func eachField(message []byte, take func(number uint64, value []byte) error) error {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 || tag > math.MaxUint32 || tag>>3 == 0 {
			return malformedExport()
		}
		message = message[n:]
		value, size, ok := fieldValue(message, tag&7)
		if !ok {
			return malformedExport()
		}
		message = message[size:]
		if err := take(tag>>3, value); err != nil {
			return err
		}
	}
	return nil
}

// fieldValue reads what follows a tag and tells how long it is. Groups are not used by OTLP.
func fieldValue(message []byte, wireType uint64) (value []byte, size int, ok bool) {
	switch wireType {
	case wireVarint:
		_, n := binary.Uvarint(message)
		return nil, n, n > 0
	case wireFixed64:
		return nil, 8, len(message) >= 8
	case wireFixed32:
		return nil, 4, len(message) >= 4
	case wireBytes:
		length, n := binary.Uvarint(message)
		if n <= 0 || length > uint64(len(message)-n) {
			return nil, 0, false
		}
		size = n + int(length)
		return message[n:size:size], size, true
	default:
		return nil, 0, false
	}
}

func malformedExport() error {
	return weaveInvalid(ReasonMalformedExport, "the export is not protobuf of OTLP traces")
}
