package assertions

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client"
	"github.com/zitadel/oidc/v3/pkg/client/rs"
	"github.com/zitadel/oidc/v3/pkg/client/tokenexchange"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// TestDefaults: what each library writes by itself, under the policy that every issuer begins with.
func TestDefaults(t *testing.T) {
	f := startFirman(t)
	f.run(t, "resource", "add", "api", "--identifier", "https://api.example", "--scope", "read")
	f.run(t, "role", "add", "reader", "--grant", "api=read")

	t.Run("golang-jwt", func(t *testing.T) {
		key := newKey(t)
		f.agent(t, "golang-jwt", publicPEM(t, key))
		accepted(t, f, byGolangJWT(t, f.issuer, "golang-jwt", key), true)
	})
	t.Run("jwx", func(t *testing.T) {
		key := newKey(t)
		f.agent(t, "jwx", publicPEM(t, key))
		accepted(t, f, byJWX(t, f.issuer, "jwx", key), true)
	})
	t.Run("zitadel/oidc", func(t *testing.T) {
		key := newKey(t)
		f.agent(t, "zitadel", publicPEM(t, key))
		testZitadel(t, f, key)
	})
}

// TestCures: the line that makes each library write the string, under the policy that accepts nothing else.
func TestCures(t *testing.T) {
	f := startFirman(t)
	f.run(t, "resource", "add", "api", "--identifier", "https://api.example", "--scope", "read")
	f.run(t, "role", "add", "reader", "--grant", "api=read")
	f.run(t, "issuer", "edit", "--assertion-audience", "issuer-as-string")

	t.Run("golang-jwt", func(t *testing.T) {
		key := newKey(t)
		f.agent(t, "golang-jwt", publicPEM(t, key))
		refused(t, f, byGolangJWT(t, f.issuer, "golang-jwt", key))
		defer golangJWTWritesStrings()()
		accepted(t, f, byGolangJWT(t, f.issuer, "golang-jwt", key), false)
	})
	t.Run("jwx", func(t *testing.T) {
		key := newKey(t)
		f.agent(t, "jwx", publicPEM(t, key))
		refused(t, f, byJWX(t, f.issuer, "jwx", key))
		defer jwxWritesStrings()()
		accepted(t, f, byJWX(t, f.issuer, "jwx", key), false)
	})
	t.Run("zitadel/oidc, which has no setting", func(t *testing.T) {
		key := newKey(t)
		f.agent(t, "zitadel", publicPEM(t, key))
		refused(t, f, byZitadel(t, f.issuer, "zitadel", key))
		f.run(t, "agent", "edit", "zitadel", "--assertion-audience", "issuer")
		accepted(t, f, byZitadel(t, f.issuer, "zitadel", key), true)
	})
}

func byZitadel(t *testing.T, issuer, clientID string, key *ecdsa.PrivateKey) string {
	t.Helper()
	signer, err := client.NewSignerFromPrivateKeyByte(privatePEM(t, key), "zitadel-2026")
	must(t, err)
	assertion, err := client.SignedJWTProfileAssertion(clientID, []string{issuer}, time.Minute, signer)
	must(t, err)
	return assertion
}

// testZitadel: the library itself proves an agent at introspection and at token exchange.
func testZitadel(t *testing.T, f *firman, key *ecdsa.PrivateKey) {
	assertion := byZitadel(t, f.issuer, "zitadel", key)
	token := accepted(t, f, assertion, true)
	ctx := context.Background()

	server, err := rs.NewResourceServerJWTProfile(ctx, f.issuer, "zitadel", "zitadel-2026", privatePEM(t, key))
	must(t, err)
	introspected, err := rs.Introspect[*oidc.IntrospectionResponse](ctx, server, token)
	must(t, err)
	if !introspected.Active || introspected.Subject != "agent:zitadel" {
		t.Errorf("introspection says %+v", introspected)
	}

	signer, err := client.NewSignerFromPrivateKeyByte(privatePEM(t, key), "zitadel-2026")
	must(t, err)
	exchanger, err := tokenexchange.NewTokenExchangerJWTProfile(ctx, f.issuer, "zitadel", signer)
	must(t, err)
	_, err = tokenexchange.ExchangeToken(ctx, exchanger, token, oidc.AccessTokenType, "", "", nil, nil, nil, "")
	// It proved itself: what it lacks is a delegation.
	if err == nil || strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("the exchange says %v", err)
	}
}

// accepted gets a token with an assertion whose `aud` is written as expected, and returns it.
func accepted(t *testing.T, f *firman, assertion string, isArray bool) string {
	t.Helper()
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(assertion, ".")[1])
	must(t, err)
	var written struct {
		Audience json.RawMessage `json:"aud"`
	}
	must(t, json.Unmarshal(claims, &written))
	if (written.Audience[0] == '[') != isArray {
		t.Errorf("aud is %s", written.Audience)
	}
	token, refusal := f.token(t, assertion)
	if token == "" {
		t.Fatalf("refused: %s", refusal)
	}
	return token
}

func refused(t *testing.T, f *firman, assertion string) {
	t.Helper()
	token, refusal := f.token(t, assertion)
	if token != "" || !strings.Contains(refusal, "`aud` must be the string "+f.issuer+", not an array") {
		t.Errorf("said %q", refusal)
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

func privatePEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func publicPEM(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}
