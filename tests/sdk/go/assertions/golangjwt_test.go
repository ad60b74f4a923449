package assertions

import (
	"crypto/ecdsa"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

func byGolangJWT(t *testing.T, issuer, clientID string, key *ecdsa.PrivateKey) string {
	t.Helper()
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
		Issuer:    clientID,
		Subject:   clientID,
		Audience:  jwt.ClaimStrings{issuer},
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
		ID:        uuid.NewString(),
	})
	// A name of the client's own: the key was registered without one.
	token.Header["kid"] = "golang-jwt-2026"
	assertion, err := token.SignedString(key)
	must(t, err)
	return assertion
}

// golangJWTWritesStrings sets the library's one switch, and returns what resets it.
func golangJWTWritesStrings() func() {
	jwt.MarshalSingleStringAsArray = false
	return func() { jwt.MarshalSingleStringAsArray = true }
}
