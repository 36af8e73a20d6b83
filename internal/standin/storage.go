package standin

import (
	"cmp"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// maxUpload bounds one upload.
const maxUpload = 256 << 20

// signedURL is where a client may put or get one blob without any other credential. It is bound
// to the method.
func (c *call) signedURL(method, blob string) string {
	q := url.Values{"file": {blob}, "direct": {"true"}, "signature": {c.server.sign(method, blob)}}
	return cmp.Or(c.server.config.StorageURL, c.base) + "/storage?" + q.Encode()
}

func (s *Server) sign(method, blob string) string {
	mac := hmac.New(sha256.New, s.signature[:])
	io.WriteString(mac, method+"\n"+blob)
	return hex.EncodeToString(mac.Sum(nil))
}

func (s *Server) signed(w http.ResponseWriter, r *http.Request, method string) (blob string, ok bool) {
	q := r.URL.Query()
	blob = q.Get("file")
	if !hmac.Equal([]byte(q.Get("signature")), []byte(s.sign(method, blob))) {
		writeError(w, http.StatusForbidden, "the URL's signature does not match")
		return "", false
	}
	return blob, true
}

func (s *Server) serveUpload(w http.ResponseWriter, r *http.Request) {
	blob, ok := s.signed(w, r, http.MethodPut)
	if !ok {
		return
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUpload))
	if err != nil {
		writeError(w, http.StatusBadRequest, "reading the upload: "+err.Error())
		return
	}
	sum := md5.Sum(content)
	if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum[:]) {
		writeError(w, http.StatusBadRequest, "the upload's Content-MD5 does not match")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	grown := s.state.stored - int64(len(s.state.blobs[blob])) + int64(len(content))
	if grown > s.config.MaxStored {
		writeError(w, http.StatusInsufficientStorage, "the stand-in's memory is full")
		return
	}
	s.state.stored = grown
	s.state.blobs[blob] = content
	w.Header().Set("Etag", `"`+hex.EncodeToString(sum[:])+`"`)
	w.WriteHeader(http.StatusOK)
}

func (s *Server) serveDownload(w http.ResponseWriter, r *http.Request) {
	blob, ok := s.signed(w, r, http.MethodGet)
	if !ok {
		return
	}
	s.mu.Lock()
	content, ok := s.state.blobs[blob]
	s.mu.Unlock()
	if !ok {
		writeError(w, http.StatusNotFound, "no such file")
		return
	}
	writeContent(w, r, blob, content)
}

// serveRunFile serves File.url, which asks for a credential.
func (s *Server) serveRunFile(w http.ResponseWriter, r *http.Request) {
	s.serveBlob(w, r, r.PathValue("entity"), r.PathValue("project"), func(p *project) (string, bool) {
		run := p.run(r.PathValue("run"))
		if run == nil {
			return "", false
		}
		f := run.file(r.PathValue("name"))
		if f == nil {
			return "", false
		}
		return f.blob(), true
	})
}

// serveArtifactV1 serves layout V1: content by hash within an entity.
func (s *Server) serveArtifactV1(w http.ResponseWriter, r *http.Request) {
	entity, hash := r.PathValue("entity"), r.PathValue("hash")
	s.serveBlob(w, r, entity, "", func(*project) (string, bool) { return "artifacts/" + entity + "/" + hash, true })
}

// serveArtifactV2 serves layout V2. Collection names may hold slashes, so the path is read from
// its end: .../{project}/{collection...}/[{artifactID}/]{birthArtifactID}/{hash}/{filename...}. The hash is the
// first segment of 32 hex digits.
func (s *Server) serveArtifactV2(w http.ResponseWriter, r *http.Request) {
	entity := r.PathValue("entity")
	segments := strings.Split(r.PathValue("rest"), "/")
	s.serveBlob(w, r, entity, segments[0], func(*project) (string, bool) {
		for _, segment := range segments[1:] {
			if raw, err := hex.DecodeString(segment); err == nil && len(raw) == md5.Size {
				return "artifacts/" + entity + "/" + segment, true
			}
		}
		return "", false
	})
}

// serveBlob serves what find names, if the caller may read the project; without a project, if
// the caller is a member of the entity.
func (s *Server) serveBlob(w http.ResponseWriter, r *http.Request, entity, project string, find func(*project) (string, bool)) {
	s.mu.Lock()
	who, err := s.identify(r)
	if err != nil {
		s.mu.Unlock()
		writeError(w, http.StatusUnauthorized, err.Error())
		return
	}
	p := s.state.project(entity, project)
	allowed := p != nil && s.mayRead(who, p)
	if t := s.state.teams[entity]; project == "" && t != nil {
		allowed = s.config.Trust || t.member(who.user) != nil
	}
	var content []byte
	var found bool
	if allowed {
		var blob string
		if blob, found = find(p); found {
			content, found = s.state.blobs[blob]
		}
	}
	s.mu.Unlock()
	if !found {
		writeError(w, http.StatusNotFound, "no such file")
		return
	}
	writeContent(w, r, r.URL.Path, content)
}

func writeContent(w http.ResponseWriter, r *http.Request, name string, content []byte) {
	kind := cmp.Or(mime.TypeByExtension(path.Ext(name)), "application/octet-stream")
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Access-Control-Allow-Origin", "*")
	http.ServeContent(w, r, "", now(), strings.NewReader(string(content)))
}

// hexOf turns a base64 MD5, as artifacts name content, into hex.
func hexOf(sum string) string {
	raw, err := base64.StdEncoding.DecodeString(sum)
	if err != nil {
		return hex.EncodeToString([]byte(sum))
	}
	return hex.EncodeToString(raw)
}

func md5Of(content []byte) string {
	sum := md5.Sum(content)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// escapePath escapes a name for a URL's path and keeps its slashes.
func escapePath(name string) string { return (&url.URL{Path: name}).EscapedPath() }
