package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	tiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	tilesnote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor/pkg/types"
	rekordsse "github.com/sigstore/rekor/pkg/types/dsse"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	"github.com/sigstore/rekor/pkg/types/hashedrekord"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/signature"
	checkpoint "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"google.golang.org/protobuf/encoding/protojson"
)

func (w *World) services(request Request) *ca.VirtualSigstore {
	if request.Log == "foreign" {
		return w.foreign
	}
	return w.trusted
}

// logDocument is the promise of a log to hold the signature of a document, as cosign kept it.
func (w *World) logDocument(request Request, signer *Signer, document, signed []byte) ([]byte, error) {
	digest := sha256.Sum256(document)
	body, err := entryBody(hashedrekord.KIND, signer, types.ArtifactProperties{
		ArtifactHash:   "sha256:" + hex.EncodeToString(digest[:]),
		SignatureBytes: signed,
	})
	if err != nil {
		return nil, err
	}
	entry, promise, err := w.promise(request, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": entry})
}

// logEnvelope is the entry of a log for an envelope, with what proves it.
func (w *World) logEnvelope(request Request, signer *Signer, envelope *dsse.Envelope, signed []byte) (*protorekor.TransparencyLogEntry, error) {
	if request.Log == "v2" {
		return w.logEnvelopeInTiles(signer, envelope, signed)
	}
	encoded, err := json.Marshal(envelope)
	if err != nil {
		return nil, err
	}
	body, err := entryBody(rekordsse.KIND, signer, types.ArtifactProperties{ArtifactBytes: encoded})
	if err != nil {
		return nil, err
	}
	entry, promise, err := w.promise(request, body)
	if err != nil {
		return nil, err
	}
	services := w.services(request)
	inclusion, err := services.GetInclusionProof(body)
	if err != nil {
		return nil, err
	}
	rootHash, err := hex.DecodeString(*inclusion.RootHash)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(entry.LogID)
	return &protorekor.TransparencyLogEntry{
		LogIndex:          entry.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: rekordsse.KIND, Version: "0.0.1"},
		IntegratedTime:    entry.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: promise},
		CanonicalizedBody: body,
		InclusionProof: &protorekor.InclusionProof{
			LogIndex:   *inclusion.LogIndex,
			TreeSize:   *inclusion.TreeSize,
			RootHash:   rootHash,
			Checkpoint: &protorekor.Checkpoint{Envelope: *inclusion.Checkpoint},
		},
	}, err
}

// entryBody is what Rekor keeps of a signature.
func entryBody(kind string, signer *Signer, properties types.ArtifactProperties) ([]byte, error) {
	pem, err := signer.pem()
	if err != nil {
		return nil, err
	}
	properties.PKIFormat = "x509"
	properties.PublicKeyBytes = [][]byte{pem}
	ctx := context.Background()
	proposed, err := types.NewProposedEntry(ctx, kind, "0.0.1", properties)
	if err != nil {
		return nil, err
	}
	entry, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return nil, err
	}
	return types.CanonicalizeEntry(ctx, entry)
}

// promise is the signature of a log that it will hold an entry.
func (w *World) promise(request Request, body []byte) (*tlog.RekorPayload, []byte, error) {
	services := w.services(request)
	id, err := services.RekorLogID()
	if err != nil {
		return nil, nil, err
	}
	entry := tlog.RekorPayload{
		Body:           base64.StdEncoding.EncodeToString(body),
		IntegratedTime: request.loggedAt().Unix(),
		LogIndex:       1000,
		LogID:          id,
	}
	promise, err := services.RekorSignPayload(entry)
	return &entry, promise, err
}

// logEnvelopeInTiles is the entry of a log of Rekor's second version, which says nothing of the time.
func (w *World) logEnvelopeInTiles(signer *Signer, envelope *dsse.Envelope, signed []byte) (*protorekor.TransparencyLogEntry, error) {
	payload, err := envelope.DecodeB64Payload()
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(dsse.PAE(envelope.PayloadType, payload))
	encoded, err := protojson.Marshal(&tiles.Entry{
		ApiVersion: "0.0.2",
		Kind:       hashedrekord.KIND,
		Spec: &tiles.Spec{Spec: &tiles.Spec_HashedRekordV002{HashedRekordV002: &tiles.HashedRekordLogEntryV002{
			Data: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: digest[:]},
			Signature: &tiles.Signature{Content: signed, Verifier: &tiles.Verifier{
				KeyDetails: protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
				Verifier: &tiles.Verifier_X509Certificate{
					X509Certificate: &protocommon.X509Certificate{RawBytes: signer.certificate.Raw},
				},
			}},
		}}},
	})
	if err != nil {
		return nil, err
	}
	body, err := jsoncanonicalizer.Transform(encoded)
	if err != nil {
		return nil, err
	}
	rootHash := rfc6962.DefaultHasher.HashLeaf(body)
	signedCheckpoint, err := w.checkpoint(rootHash)
	if err != nil {
		return nil, err
	}
	id, err := logID(w.tilesLog.Public())
	return &protorekor.TransparencyLogEntry{
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: hashedrekord.KIND, Version: "0.0.2"},
		CanonicalizedBody: body,
		InclusionProof: &protorekor.InclusionProof{
			TreeSize:   1,
			RootHash:   rootHash,
			Checkpoint: &protorekor.Checkpoint{Envelope: string(signedCheckpoint)},
		},
	}, err
}

// checkpoint is what the log says of itself when it has one entry.
func (w *World) checkpoint(rootHash []byte) ([]byte, error) {
	key, err := signature.LoadECDSASignerVerifier(w.tilesLog, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	signer, err := tilesnote.NewNoteSigner(context.Background(), tilesOrigin, key)
	if err != nil {
		return nil, err
	}
	text := checkpoint.Checkpoint{Origin: tilesOrigin, Size: 1, Hash: rootHash}.Marshal()
	return note.Sign(&note.Note{Text: string(text)}, signer)
}
