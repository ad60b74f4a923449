package assertions

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

func byJWX(t *testing.T, issuer, clientID string, key *ecdsa.PrivateKey) string {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewBuilder().
		Issuer(clientID).
		Subject(clientID).
		Audience([]string{issuer}).
		IssuedAt(now).
		Expiration(now.Add(time.Minute)).
		JwtID(uuid.NewString()).
		Build()
	must(t, err)
	signingKey, err := jwk.Import(key)
	must(t, err)
	must(t, signingKey.Set(jwk.KeyIDKey, "jwx-2026"))
	assertion, err := jwt.Sign(token, jwt.WithKey(jwa.ES256(), signingKey))
	must(t, err)
	return string(assertion)
}

// jwxWritesStrings sets the library's switch for every token, and returns what resets it.
func jwxWritesStrings() func() {
	jwt.Settings(jwt.WithFlattenAudience(true))
	return func() { jwt.Settings(jwt.WithFlattenAudience(false)) }
}
