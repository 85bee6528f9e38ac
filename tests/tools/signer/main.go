// Signer makes the signatures that tests verify, with the libraries that cosign is made of, in a Sigstore of its
// own: a certificate authority, a certificate log, a transparency log and a timestamp authority, all new for each
// run.
//
// Standard input is a list of requests, standard output the keys, the trusted root and a signature for each
// request.
package main

import (
	"encoding/base64"
	"encoding/json"
	"log"
	"os"
	"time"
)

// Request says what is signed, and how.
type Request struct {
	// The digest of an image.
	Digest string `json:"digest"`
	// "simple" or "bundle".
	Form string `json:"form"`
	// One of Keys; the other members of this group are for signers without a key.
	Key     string `json:"key"`
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// What a certificate lacks: "" (nothing), "sct", "usage", "authority" (it is of one that nobody trusts).
	Without string `json:"without"`
	// Whether the issuer stands under the older of the two names of the extension only.
	OldIssuer bool `json:"oldIssuer"`
	// Seconds from now at which the log says that it saw the signature.
	LoggedAt int64 `json:"loggedAt"`
	// "v1", "v2" (with a timestamp), "foreign" (a log that nobody trusts), or "" for none.
	Log string `json:"log"`
	// The predicate type of the statement; that of a signature when it is empty.
	Predicate string `json:"predicate"`
}

// Signature is one in the form that was asked for.
type Signature struct {
	// The signed document in cosign's older form, and the annotations of its layer.
	Document    []byte            `json:"document,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Bundle      json.RawMessage   `json:"bundle,omitempty"`
}

// Answer is everything that was made.
type Answer struct {
	Keys        map[string]string `json:"keys"`
	TrustedRoot json.RawMessage   `json:"trustedRoot"`
	Signatures  []Signature       `json:"signatures"`
}

func main() {
	log.SetFlags(0)
	var requests []Request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		log.Fatal(err)
	}
	answer, err := answer(requests)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}

func answer(requests []Request) (*Answer, error) {
	world, err := newWorld()
	if err != nil {
		return nil, err
	}
	root, err := world.trustedRoot()
	if err != nil {
		return nil, err
	}
	answer := Answer{Keys: world.publicKeys, TrustedRoot: root, Signatures: []Signature{}}
	for _, request := range requests {
		signature, err := world.sign(request)
		if err != nil {
			return nil, err
		}
		answer.Signatures = append(answer.Signatures, *signature)
	}
	return &answer, nil
}

func (r Request) loggedAt() time.Time {
	return time.Now().Add(time.Duration(r.LoggedAt) * time.Second)
}

func encode(content []byte) string {
	return base64.StdEncoding.EncodeToString(content)
}
