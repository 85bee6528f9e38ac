# shellcheck shell=bash
# Certificates and kubeconfigs, made once per cluster. Must not know: who uses them, and for what.

CERTIFICATE_DAYS=3650

# pki_authority NAME
pki_authority() {
  local file=$PKI/$1
  [[ ! -f $file.crt ]] || return 0
  quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj "/CN=$ID $1" -addext keyUsage=critical,keyCertSign,cRLSign \
    -days "$CERTIFICATE_DAYS" -keyout "$file.key" -out "$file.crt.new"
  mv "$file.crt.new" "$file.crt"
}

# pki_issue AUTHORITY NAME SUBJECT [ALTERNATIVE-NAMES]: for clients, or for a server by these names.
pki_issue() {
  local authority=$PKI/$1 file=$PKI/$2 subject=$3 names=${4:-} use=clientAuth
  [[ ! -f $file.crt ]] || return 0
  [[ -z $names ]] || use=serverAuth
  quietly openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj "$subject" -keyout "$file.key" -out "$file.csr"
  {
    printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n'
    printf 'extendedKeyUsage=%s\n' "$use"
    [[ -z $names ]] || printf 'subjectAltName=%s\n' "$names"
  } >"$file.ext"
  quietly openssl x509 -req -in "$file.csr" -CA "$authority.crt" -CAkey "$authority.key" \
    -set_serial "0x$(openssl rand -hex 8)" -days "$CERTIFICATE_DAYS" -extfile "$file.ext" \
    -out "$file.crt.new"
  rm "$file.csr" "$file.ext"
  mv "$file.crt.new" "$file.crt"
}

# pki_key_pair NAME: without a certificate.
pki_key_pair() {
  local file=$PKI/$1
  [[ ! -f $file.pub ]] || return 0
  quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$file.key"
  quietly openssl pkey -in "$file.key" -pubout -out "$file.pub.new"
  mv "$file.pub.new" "$file.pub"
}

# kubeconfig_create NAME SUBJECT: with all keys inside, so that the file can be moved.
kubeconfig_create() {
  local name=$1 subject=$2
  [[ ! -f $KUBECONFIGS/$name ]] || return 0
  pki_issue cluster-ca "$name" "$subject"
  write "$KUBECONFIGS/$name" 0600 <<EOF
apiVersion: v1
kind: Config
clusters:
- name: transship
  cluster:
    server: $API_SERVER
    certificate-authority-data: $(base64 -w0 "$PKI/cluster-ca.crt")
users:
- name: $name
  user:
    client-certificate-data: $(base64 -w0 "$PKI/$name.crt")
    client-key-data: $(base64 -w0 "$PKI/$name.key")
contexts:
- name: transship
  context: {cluster: transship, user: $name}
current-context: transship
EOF
}
