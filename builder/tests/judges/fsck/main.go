// Checks a log of static files with Tessera's own fsck: fsck FOLDER KEY.pem ORIGIN.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
)

// verifier checks checkpoints signed with ECDSA; the key's hash is that of C2SP signed-note for such keys.
type verifier struct {
	name string
	hash uint32
	key  *ecdsa.PublicKey
}

func (v verifier) Name() string    { return v.name }
func (v verifier) KeyHash() uint32 { return v.hash }
func (v verifier) Verify(message, signature []byte) bool {
	digest := sha256.Sum256(message)
	return ecdsa.VerifyASN1(v.key, digest[:], signature)
}

func open(name, path string) (verifier, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return verifier{}, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return verifier{}, errors.New("the key is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return verifier{}, err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return verifier{}, errors.New("the key is not an ECDSA key")
	}
	digest := sha256.Sum256(block.Bytes)
	return verifier{name: name, hash: binary.BigEndian.Uint32(digest[:4]), key: key}, nil
}

func leaves(bundle []byte) ([][]byte, error) {
	entries := &api.EntryBundle{}
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var hashes [][]byte
	for _, entry := range entries.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func run() error {
	if len(os.Args) != 4 {
		return errors.New("usage: fsck FOLDER KEY.pem ORIGIN")
	}
	verifier, err := open(os.Args[3], os.Args[2])
	if err != nil {
		return err
	}
	log := &client.FileFetcher{Root: os.Args[1]}
	return fsck.New(os.Args[3], verifier, log, leaves, fsck.Opts{N: 2}).Check(context.Background())
}

func main() {
	if err := run(); err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Println("accepted")
}
