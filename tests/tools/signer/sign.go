package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	sigdsse "github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	mediaType     = "application/vnd.dev.sigstore.bundle.v0.3+json"
	signPredicate = "https://sigstore.dev/cosign/sign/v1"
	inToto        = "application/vnd.in-toto+json"
)

// Signer is whoever signs: a key, with a certificate when it is not one that others know.
type Signer struct {
	signature.Signer
	public      crypto.PublicKey
	certificate *x509.Certificate
	issuer      *Issuer
}

func (w *World) signer(request Request) (*Signer, error) {
	if request.Key != "" {
		key, ok := w.keys[request.Key]
		if !ok {
			return nil, fmt.Errorf("no key %q", request.Key)
		}
		// The hash that cosign takes, whatever the curve.
		signer, err := signature.LoadSigner(key, crypto.SHA256)
		return &Signer{Signer: signer, public: key.Public()}, err
	}
	key, certificate, err := w.certify(request)
	if err != nil {
		return nil, err
	}
	signer, err := signature.LoadSigner(key, crypto.SHA256)
	return &Signer{signer, key.Public(), certificate, w.issuer}, err
}

// pem is what a log keeps of the signer.
func (s *Signer) pem() ([]byte, error) {
	if s.certificate != nil {
		return cryptoutils.MarshalCertificateToPEM(s.certificate)
	}
	return cryptoutils.MarshalPublicKeyToPEM(s.public)
}

func (w *World) sign(request Request) (*Signature, error) {
	signer, err := w.signer(request)
	if err != nil {
		return nil, err
	}
	switch request.Form {
	case "simple":
		return w.signSimple(request, signer)
	case "bundle":
		return w.signBundle(request, signer)
	}
	return nil, fmt.Errorf("no form %q", request.Form)
}

// signSimple signs as cosign did until version 3.
func (w *World) signSimple(request Request, signer *Signer) (*Signature, error) {
	image, err := name.NewDigest("registry.example/of/the/signer@" + request.Digest)
	if err != nil {
		return nil, err
	}
	document, err := json.Marshal(payload.Cosign{Image: image})
	if err != nil {
		return nil, err
	}
	signed, err := signer.SignMessage(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{"dev.cosignproject.cosign/signature": encode(signed)}
	if signer.certificate != nil {
		own, err := signer.pem()
		if err != nil {
			return nil, err
		}
		chain, err := cryptoutils.MarshalCertificatesToPEM([]*x509.Certificate{signer.issuer.intermediate, signer.issuer.root})
		if err != nil {
			return nil, err
		}
		annotations["dev.sigstore.cosign/certificate"] = string(own)
		annotations["dev.sigstore.cosign/chain"] = string(chain)
	}
	if request.Log != "" {
		entry, err := w.logDocument(request, signer, document, signed)
		if err != nil {
			return nil, err
		}
		annotations["dev.sigstore.cosign/bundle"] = string(entry)
	}
	return &Signature{Document: document, Annotations: annotations}, nil
}

// signBundle signs as cosign does since version 3.
func (w *World) signBundle(request Request, signer *Signer) (*Signature, error) {
	statement, err := request.statement()
	if err != nil {
		return nil, err
	}
	envelopes, err := dsse.NewEnvelopeSigner(&sigdsse.SignerAdapter{SignatureSigner: signer, Pub: signer.public})
	if err != nil {
		return nil, err
	}
	envelope, err := envelopes.SignPayload(context.Background(), inToto, statement)
	if err != nil {
		return nil, err
	}
	signed, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		return nil, err
	}
	material, err := w.material(request, signer, envelope, signed)
	if err != nil {
		return nil, err
	}
	bundle, err := protojson.Marshal(&protobundle.Bundle{
		MediaType:            mediaType,
		VerificationMaterial: material,
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload:     statement,
			PayloadType: inToto,
			Signatures:  []*protodsse.Signature{{Sig: signed}},
		}},
	})
	return &Signature{Bundle: bundle}, err
}

func (r Request) statement() ([]byte, error) {
	predicate := r.Predicate
	if predicate == "" {
		predicate = signPredicate
	}
	algorithm, value, _ := strings.Cut(r.Digest, ":")
	return json.Marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       []any{map[string]any{"digest": map[string]any{algorithm: value}}},
		"predicateType": predicate,
		"predicate":     map[string]any{},
	})
}

func (w *World) material(request Request, signer *Signer, envelope *dsse.Envelope, signed []byte) (*protobundle.VerificationMaterial, error) {
	var material protobundle.VerificationMaterial
	if signer.certificate != nil {
		material.Content = &protobundle.VerificationMaterial_Certificate{
			Certificate: &protocommon.X509Certificate{RawBytes: signer.certificate.Raw},
		}
	} else {
		material.Content = &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: "the key of the test"},
		}
	}
	if request.Log == "" {
		return &material, nil
	}
	entry, err := w.logEnvelope(request, signer, envelope, signed)
	if err != nil {
		return nil, err
	}
	material.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	timestamp, err := w.trusted.TimestampResponse(signed)
	material.TimestampVerificationData = &protobundle.TimestampVerificationData{
		Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: timestamp}},
	}
	return &material, err
}
