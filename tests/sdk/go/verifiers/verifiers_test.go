package verifiers

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	capjwt "github.com/hashicorp/cap/jwt"
)

const audience = "https://api.example.com"

// fetch gets a token as any client does.
func fetch(t *testing.T, issuer, client, secret, resource string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}.Encode()
	request, err := http.NewRequest("POST", issuer+"/oauth2/token", strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(client, secret)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		AccessToken      string `json:"access_token"`
		ErrorDescription string `json:"error_description"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.AccessToken == "" {
		t.Fatal(err, body.ErrorDescription)
	}
	return body.AccessToken
}

// tokens has one for each way in which a resource can have them, and one for another resource.
func tokens(t *testing.T, firman *Firman) map[string]string {
	t.Helper()
	firman.Command(t, "resource", "add", "api", "--identifier", audience, "--scope", "read")
	firman.Command(t, "resource", "add", "other", "--identifier", "urn:other")
	firman.Command(t, "role", "add", "reader", "--grant", "api", "--grant", "other")
	agent := firman.Command(t, "agent", "add", "mailer", "--owner", "team", "--role", "reader", "--secret")
	secret := agent["client_secret"].(string)
	tokens := map[string]string{
		"another audience": fetch(t, firman.Issuer, "mailer", secret, "urn:other"),
		"a broken one":     "e30.e30.e30",
	}
	for _, algorithm := range []string{"ES256", "RS256"} {
		for _, typ := range []string{"at+jwt", "JWT"} {
			firman.Command(t, "resource", "edit", "api", "--algorithm", algorithm, "--typ", typ)
			tokens[algorithm+" "+typ] = fetch(t, firman.Issuer, "mailer", secret, audience)
		}
	}
	return tokens
}

func TestWhatEachVerifierAccepts(t *testing.T) {
	firman := StartFirman(t)
	tokens := tokens(t, firman)
	issuer := firman.Issuer
	all := []string{"ES256 JWT", "ES256 at+jwt", "RS256 JWT", "RS256 at+jwt"}
	rs256, es256 := all[2:], all[:2]
	need := func(verify Verify, err error) Verify {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return verify
	}
	for _, verifier := range []struct {
		name     string
		verify   Verify
		accepted []string
	}{
		{"go-oidc, by discovery", need(goOIDC(t.Context(), issuer, audience)), all},
		{"go-oidc, by key set", goOIDCByKeySet(t.Context(), issuer, audience), rs256},
		{"go-oidc, by key set for ES256", goOIDCByKeySet(t.Context(), issuer, audience, "ES256"), es256},
		{"golang-jwt", need(golangJWT(t.Context(), issuer, audience)), all[1:2]},
		{"jwx", need(jwx(t.Context(), issuer, audience)), all},
		{"Vault's library", need(vault(t.Context(), issuer, audience)), rs256},
		{"Vault, a role of type jwt", need(vault(t.Context(), issuer, audience, capjwt.ES256, capjwt.RS256)), all},
		{"Vault, jwt_supported_algs=ES256", need(vault(t.Context(), issuer, audience, capjwt.ES256)), es256},
	} {
		t.Run(verifier.name, func(t *testing.T) {
			accepted := []string{}
			for name, token := range tokens {
				if err := verifier.verify(t.Context(), token); err == nil {
					accepted = append(accepted, name)
				} else {
					t.Logf("refuses %s: %v", name, err)
				}
			}
			slices.Sort(accepted)
			if !slices.Equal(accepted, verifier.accepted) {
				t.Errorf("accepted %q instead of %q", accepted, verifier.accepted)
			}
		})
	}
}
