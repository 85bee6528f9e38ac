package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"strings"
	"time"

	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509util"
)

var (
	oldIssuerExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
	issuerExtension    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	sctExtension       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// certify makes a key and a certificate for it as Fulcio does: valid for ten minutes, with the proof of a
// certificate log.
func (w *World) certify(request Request) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template, err := request.template()
	if err != nil {
		return nil, nil, err
	}
	issuer := w.issuer
	if request.Without == "authority" {
		issuer = w.stranger
	}
	certificate, err := issuer.issue(template, key.Public())
	if err != nil || request.Without == "sct" {
		return key, certificate, err
	}
	// What the log signs is the certificate without the proof, which is the one just made.
	proof, err := w.logCertificate(certificate, issuer.intermediate)
	if err != nil {
		return nil, nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions, *proof)
	certificate, err = issuer.issue(template, key.Public())
	return key, certificate, err
}

func (r Request) template() (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		SerialNumber: serial,
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(9 * time.Minute),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{
			{Id: oldIssuerExtension, Value: []byte(r.Issuer)},
		},
	}
	if r.Without != "usage" {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	}
	if !r.OldIssuer {
		value, err := asn1.MarshalWithParams(r.Issuer, "utf8")
		if err != nil {
			return nil, err
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: issuerExtension, Value: value})
	}
	if strings.Contains(r.Subject, "://") {
		subject, err := url.Parse(r.Subject)
		if err != nil {
			return nil, err
		}
		template.URIs = []*url.URL{subject}
	} else {
		template.EmailAddresses = []string{r.Subject}
	}
	return &template, nil
}

func (i *Issuer) issue(template *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	encoded, err := x509.CreateCertificate(rand.Reader, template, i.intermediate, key, i.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(encoded)
}

// logCertificate is the extension that says when the certificate log saw `certificate`.
func (w *World) logCertificate(certificate, issuer *x509.Certificate) (*pkix.Extension, error) {
	timestamp := uint64(time.Now().UnixMilli())
	entry := ct.LogEntry{Leaf: ct.MerkleTreeLeaf{
		Version:  ct.V1,
		LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{
			Timestamp: timestamp,
			EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{
				IssuerKeyHash:  sha256.Sum256(issuer.RawSubjectPublicKeyInfo),
				TBSCertificate: certificate.RawTBSCertificate,
			},
		},
	}}
	id, err := logID(w.certificateLog.Public())
	if err != nil {
		return nil, err
	}
	proof := ct.SignedCertificateTimestamp{
		SCTVersion: ct.V1,
		LogID:      ct.LogID{KeyID: [32]byte(id)},
		Timestamp:  timestamp,
	}
	signed, err := ct.SerializeSCTSignatureInput(proof, entry)
	if err != nil {
		return nil, err
	}
	signature, err := tls.CreateSignature(*w.certificateLog, tls.SHA256, signed)
	if err != nil {
		return nil, err
	}
	proof.Signature = ct.DigitallySigned(signature)
	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{&proof})
	if err != nil {
		return nil, err
	}
	encoded, err := tls.Marshal(*list)
	if err != nil {
		return nil, err
	}
	value, err := asn1.Marshal(encoded)
	if err != nil {
		return nil, err
	}
	return &pkix.Extension{Id: sctExtension, Value: value}, nil
}
