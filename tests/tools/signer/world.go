package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

const tilesOrigin = "tiles.rekor.test"

// World is a Sigstore, and one that nobody trusts.
type World struct {
	// The transparency log and the timestamp authority.
	trusted *ca.VirtualSigstore
	foreign *ca.VirtualSigstore
	// The key of a transparency log of Rekor's second version.
	tilesLog *ecdsa.PrivateKey
	issuer   *Issuer
	stranger *Issuer
	// The key of the certificate log.
	certificateLog *ecdsa.PrivateKey
	keys           map[string]crypto.Signer
	publicKeys     map[string]string
}

// Issuer is a certificate authority with an intermediate, as Fulcio is.
type Issuer struct {
	root         *x509.Certificate
	intermediate *x509.Certificate
	key          *ecdsa.PrivateKey
}

func newWorld() (*World, error) {
	var world World
	var err error
	if world.trusted, err = ca.NewVirtualSigstore(); err != nil {
		return nil, err
	}
	if world.foreign, err = ca.NewVirtualSigstore(); err != nil {
		return nil, err
	}
	if world.issuer, err = newIssuer(); err != nil {
		return nil, err
	}
	if world.stranger, err = newIssuer(); err != nil {
		return nil, err
	}
	if world.certificateLog, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if world.tilesLog, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if world.keys, err = newKeys(); err != nil {
		return nil, err
	}
	world.publicKeys = map[string]string{}
	for name, key := range world.keys {
		pem, err := cryptoutils.MarshalPublicKeyToPEM(key.Public())
		if err != nil {
			return nil, err
		}
		world.publicKeys[name] = string(pem)
	}
	return &world, nil
}

func newIssuer() (*Issuer, error) {
	root, rootKey, err := ca.GenerateRootCa()
	if err != nil {
		return nil, err
	}
	intermediate, key, err := ca.GenerateFulcioIntermediate(root, rootKey)
	if err != nil {
		return nil, err
	}
	return &Issuer{root, intermediate, key}, nil
}

func newKeys() (map[string]crypto.Signer, error) {
	keys := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "other": elliptic.P256(), "p384": elliptic.P384()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return nil, err
		}
		keys[name] = key
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	keys["ed25519"] = edwards
	if keys["rsa"], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	return keys, nil
}

func (w *World) trustedRoot() ([]byte, error) {
	authority := root.FulcioCertificateAuthority{
		Root:                w.issuer.root,
		Intermediates:       []*x509.Certificate{w.issuer.intermediate},
		ValidityPeriodStart: time.Now().Add(-time.Hour),
		URI:                 "https://fulcio.test",
	}
	certificateLog, err := logWith(w.certificateLog.Public(), "https://ct.test")
	if err != nil {
		return nil, err
	}
	transparencyLogs := map[string]*root.TransparencyLog{}
	for id, known := range w.trusted.RekorLogs() {
		if transparencyLogs[id], err = logWith(known.PublicKey, known.BaseURL); err != nil {
			return nil, err
		}
	}
	if transparencyLogs["tiles"], err = logWith(w.tilesLog.Public(), "https://"+tilesOrigin); err != nil {
		return nil, err
	}
	trusted, err := root.NewTrustedRoot(
		root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&authority},
		map[string]*root.TransparencyLog{"ct": certificateLog},
		w.trusted.TimestampingAuthorities(),
		transparencyLogs,
	)
	if err != nil {
		return nil, err
	}
	return trusted.MarshalJSON()
}

func logWith(key crypto.PublicKey, url string) (*root.TransparencyLog, error) {
	id, err := logID(key)
	if err != nil {
		return nil, err
	}
	return &root.TransparencyLog{
		BaseURL:             url,
		ID:                  id,
		ValidityPeriodStart: time.Now().Add(-24 * time.Hour),
		HashFunc:            crypto.SHA256,
		PublicKey:           key,
		SignatureHashFunc:   crypto.SHA256,
	}, nil
}

// logID is the name of a log: the hash of its key.
func logID(key crypto.PublicKey) ([]byte, error) {
	encoded, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(encoded)
	return id[:], nil
}
