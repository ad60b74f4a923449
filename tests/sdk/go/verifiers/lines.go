// Package verifiers has, for each verifier that Go programs use, the lines that verify firman's tokens.
package verifiers

import (
	"context"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	capjwt "github.com/hashicorp/cap/jwt"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v3/jwt"
)

// Verify tells why a token is refused.
type Verify func(ctx context.Context, token string) error

func goOIDC(ctx context.Context, issuer, audience string) (Verify, error) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: audience})
	return func(ctx context.Context, token string) error {
		_, err := verifier.Verify(ctx, token)
		return err
	}, nil
}

// Without discovery go-oidc accepts RS256 alone, unless SupportedSigningAlgs says more.
func goOIDCByKeySet(ctx context.Context, issuer, audience string, algorithms ...string) Verify {
	keys := oidc.NewRemoteKeySet(ctx, issuer+"/oauth2/jwks")
	verifier := oidc.NewVerifier(issuer, keys, &oidc.Config{
		ClientID: audience, SupportedSigningAlgs: algorithms,
	})
	return func(ctx context.Context, token string) error {
		_, err := verifier.Verify(ctx, token)
		return err
	}
}

func golangJWT(ctx context.Context, issuer, audience string) (Verify, error) {
	keys, err := keyfunc.NewDefaultCtx(ctx, []string{issuer + "/oauth2/jwks"})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"ES256"}),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
	)
	byType := func(token *jwt.Token) (any, error) {
		if token.Header["typ"] != "at+jwt" {
			return nil, jwt.ErrTokenUnverifiable
		}
		return keys.Keyfunc(token)
	}
	return func(_ context.Context, token string) error {
		_, err := parser.Parse(token, byType)
		return err
	}, nil
}

func jwx(ctx context.Context, issuer, audience string) (Verify, error) {
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return nil, err
	}
	if err := cache.Register(ctx, issuer+"/oauth2/jwks"); err != nil {
		return nil, err
	}
	keys, err := cache.CachedSet(issuer + "/oauth2/jwks")
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, token string) error {
		_, err := jwxjwt.Parse([]byte(token),
			jwxjwt.WithKeySet(keys),
			jwxjwt.WithIssuer(issuer),
			jwxjwt.WithAudience(audience),
		)
		return err
	}, nil
}

// What Vault does with the method's oidc_discovery_url and jwt_supported_algs and the role's bound_audiences. A
// role of type jwt accepts every algorithm unless the method names some; the library by itself accepts RS256.
func vault(ctx context.Context, issuer, audience string, algorithms ...capjwt.Alg) (Verify, error) {
	keys, err := capjwt.NewOIDCDiscoveryKeySet(ctx, issuer, "")
	if err != nil {
		return nil, err
	}
	validator, err := capjwt.NewValidator(keys)
	if err != nil {
		return nil, err
	}
	expected := capjwt.Expected{
		Issuer: issuer, Audiences: []string{audience}, SigningAlgorithms: algorithms,
	}
	return func(ctx context.Context, token string) error {
		_, err := validator.Validate(ctx, token, expected)
		return err
	}, nil
}
