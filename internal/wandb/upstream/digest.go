package upstream

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// digest is the name under which an answer is remembered. It is SHA-256 over what was asked and by
// whom, each part preceded by its length, so that no two questions can run into one another
// (threats K09), and no credential is kept in memory.
type digest [sha256.Size]byte

// purpose keeps the questions apart.
type purpose byte

const (
	purposeCredential purpose = iota + 1
	purposeShown
	purposeShownToAdmin
	purposeRole
	purposeHome
	purposeAccount
	purposeList
	purposeListForAdmin
	purposePersonByName
	purposePersonByEmail
)

// Digest is the name under which it is remembered who holds a credential.
type Digest struct{ digest }

// DigestOf returns the digest of a credential. It is made once by who needs it more than once.
func DigestOf(c iam.Credential) Digest { return Digest{digestOfCredential(c)} }

// Number returns bits of the digest by which many can be spread.
func (d Digest) Number() uint64 { return binary.LittleEndian.Uint64(d.digest[:]) }

func digestOfCredential(c iam.Credential) digest {
	how := [2]byte{byte(c.Kind), 0}
	if c.Bearer {
		how[1] = 1
	}
	return digestOf(purposeCredential, how[:], c.Secret.Reveal(), "")
}

// asker is in whose name the server is asked.
type asker struct {
	kind       askerKind
	credential iam.Credential
	digest     digest
	// strange: it is not known whether the server knows the credential.
	strange bool
	// behalf is for whom the administrator's key asks, in whatever form tells them apart.
	behalf string
}

// line is where the asker waits for a turn.
func (a asker) line() line {
	switch {
	case a.strange || a.kind == askerNobody:
		return line{network: a.credential.Network}
	case a.behalf != "":
		return line{known: true, asker: a.behalf}
	default:
		return line{known: true, asker: string(a.digest[:])}
	}
}

// adminFor returns the administrator's key as asker, waiting among the questions of somebody else.
func (d *Directory) adminFor(who asker) asker {
	admin := d.admin
	if admin.behalf = who.behalf; admin.behalf == "" {
		admin.behalf = string(who.digest[:])
	}
	return admin
}

type askerKind uint8

const (
	askerNobody askerKind = iota // without any credential
	askerCaller                  // the caller's own credential
	askerAdmin                   // Config.AdminKey
)

// askerOf returns the caller with that credential as asker; nobody if it is none that can be sent.
func askerOf(c iam.Credential) asker {
	if !askable(c) {
		return asker{}
	}
	return asker{kind: askerCaller, credential: c, digest: digestOfCredential(c)}
}

// digestOf hashes two names as asked about by asker.
func digestOf(p purpose, asker []byte, a, b string) digest {
	var stack [256]byte // enough for a key or a pair of names: then nothing is allocated
	buf := append(stack[:0], byte(p))
	buf = binary.AppendUvarint(buf, uint64(len(asker)))
	buf = append(buf, asker...)
	buf = binary.AppendUvarint(buf, uint64(len(a)))
	buf = append(buf, a...)
	buf = binary.AppendUvarint(buf, uint64(len(b)))
	buf = append(buf, b...)
	return sha256.Sum256(buf)
}

// epochs count what was forgotten about entities and projects. An answer is stamped with the counts
// from before its question was sent and is good only while they stand. Names share counters by
// hash: forgetting too much costs a look-up, nothing else.
type epochs struct {
	seed     maphash.Seed
	counters [1 << 12]atomic.Uint64
}

func newEpochs() *epochs { return &epochs{seed: maphash.MakeSeed()} }

// stamp returns the sum of the two counts. Counts only grow: the sum stands while both do.
func (e *epochs) stamp(entity, project string) uint64 {
	return e.counter(entity, "").Load() + e.counter(entity, project).Load()
}

// raise makes the stamps of a project different from all before; of all the entity's projects when
// project is "".
func (e *epochs) raise(entity, project string) { e.counter(entity, project).Add(1) }

func (e *epochs) counter(entity, project string) *atomic.Uint64 {
	h := maphash.String(e.seed, iam.FoldName(entity)) * 31
	if project != "" {
		h ^= maphash.String(e.seed, iam.FoldName(project))
	}
	return &e.counters[(h^h>>32)%uint64(len(e.counters))]
}
