package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// MaxBodyBytes bounds a body that is judged; `wandb verify` sends 10 MB, large artifacts some MB
// (sdk-wire section 6). Bodies that are not judged stream through without a bound.
const MaxBodyBytes = 32 << 20

// maxPooledBytes keeps one large body from being held for ever.
const maxPooledBytes = 1 << 20

// sharedBuffer is a body in memory, held by the exchange that judges it and by the transport that
// sends it. The transport may still read after the answer has come (net/http.RoundTripper), so the
// buffer goes back to its pool when the last of the two lets go.
type sharedBuffer struct {
	bytes.Buffer
	holders atomic.Int32
}

var buffers = sync.Pool{New: func() any { return new(sharedBuffer) }}

func (b *sharedBuffer) release() {
	if b.holders.Add(-1) == 0 && b.Cap() <= maxPooledBytes {
		buffers.Put(b)
	}
}

// readBody reads the body into memory, up to MaxBodyBytes.
func (x *exchange) readBody() error {
	if x.r.ContentLength > MaxBodyBytes {
		return errBodyTooLarge
	}
	x.body = buffers.Get().(*sharedBuffer)
	x.body.Reset()
	x.body.holders.Store(1)
	if n := x.r.ContentLength; n > 0 {
		// A claimed length buys no more memory than this before bytes arrive.
		x.body.Grow(int(min(n, maxPooledBytes)) + bytes.MinRead)
	}
	n, err := x.body.ReadFrom(io.LimitReader(x.r.Body, MaxBodyBytes+1))
	if n > MaxBodyBytes {
		return errBodyTooLarge
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errBodyTooLarge // a limit of the site's own, request_body max_size
	}
	if err != nil {
		message := "The request's body could not be read to its end."
		if context.Cause(x.r.Context()) != nil {
			message = "The client went away while sending its request."
		}
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonBodyUnreadable, Message: message, Err: err}
	}
	return nil
}

var errBodyTooLarge = &iam.Error{
	Kind: iam.KindTooLarge, Reason: ReasonBodyTooLarge,
	Message: "The request's body is larger than 32 MiB, the most that is judged. Send large values as files or artifacts, and a large config in parts.",
}

// sendBody makes b what goes upstream. It may be a part of x.body or not.
func (x *exchange) sendBody(b []byte) {
	x.body.holders.Add(1)
	x.r.Body = &judgedBody{rest: b, buffer: x.body}
	x.r.ContentLength = int64(len(b))
	x.r.TransferEncoding = nil
	delete(x.r.Header, "Content-Length") // the transport writes it from ContentLength
}

// releaseBody ends the exchange's own hold.
func (x *exchange) releaseBody() {
	if x.body != nil {
		x.body.release()
		x.body = nil
	}
}

// judgedBody is a request body in memory.
type judgedBody struct {
	mu     sync.Mutex // a transport that gives up closes while it still reads
	rest   []byte
	buffer *sharedBuffer // nil once closed
}

// Read implements io.Reader.
func (b *judgedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buffer == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *judgedBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buffer != nil {
		b.buffer.release()
		b.buffer, b.rest = nil, nil
	}
	return nil
}
