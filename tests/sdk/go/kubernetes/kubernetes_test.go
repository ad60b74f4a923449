// Package kubernetes tests the Kubernetes API server's own authentication with tokens of the real firman.
package kubernetes

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

const audience = "https://kubernetes.example.com"

// configured reads the page's file as the API server reads it.
func configured(t *testing.T, issuer string, authority []byte) apiserver.JWTAuthenticator {
	t.Helper()
	text, err := os.ReadFile("authentication.yaml")
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	object, err := runtime.Decode(decoder, text)
	if err != nil {
		t.Fatal(err)
	}
	authenticator := object.(*apiserver.AuthenticationConfiguration).JWT[0]
	if authenticator.Issuer.URL != "https://firman.example.com" {
		t.Fatal(authenticator.Issuer.URL)
	}
	authenticator.Issuer.URL = issuer
	authenticator.Issuer.CertificateAuthority = string(authority)
	return authenticator
}

type bundle []byte

func (b bundle) CurrentCABundleContent() []byte { return b }

// ready is the API server's authenticator, once it has fetched firman's discovery document. Without algorithms
// it accepts what the flags --oidc-* do: RS256.
func ready(t *testing.T, firman *Firman, algorithms ...string) oidc.AuthenticatorTokenWithHealthCheck {
	t.Helper()
	authenticator, err := oidc.New(t.Context(), oidc.Options{
		JWTAuthenticator:     configured(t, firman.Issuer, firman.Authority),
		CAContentProvider:    bundle(firman.Authority),
		SupportedSigningAlgs: algorithms,
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(deadline); authenticator.HealthCheck() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(authenticator.HealthCheck())
		}
	}
	return authenticator
}

func fetch(t *testing.T, firman *Firman, secret, resource string) string {
	t.Helper()
	answer, err := http.PostForm(firman.local+"/oauth2/token", url.Values{
		"grant_type":    {"client_credentials"},
		"client_id":     {"deployer"},
		"client_secret": {secret},
		"resource":      {resource},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.AccessToken == "" {
		t.Fatal(answer.Status, err)
	}
	return body.AccessToken
}

func TestTheAPIServerKnowsTheAgentAndItsGroups(t *testing.T) {
	firman := StartFirman(t)
	firman.Command(t, "resource", "add", "kubernetes", "--identifier", audience)
	firman.Command(t, "resource", "add", "other", "--identifier", "urn:other")
	firman.Command(t, "role", "add", "deployer", "--grant", "kubernetes", "--grant", "other")
	firman.Command(t, "group", "add", "ops", "--role", "deployer")
	agent := firman.Command(t, "agent", "add", "deployer", "--owner", "team", "--group", "ops", "--secret")
	secret := agent["client_secret"].(string)
	byFile := ready(t, firman, oidc.AllValidSigningAlgorithms()...)
	byFlags := ready(t, firman)

	refused := func(name string, authenticator oidc.AuthenticatorTokenWithHealthCheck, token string) {
		t.Helper()
		answer, ok, err := authenticator.AuthenticateToken(context.Background(), token)
		if ok {
			t.Errorf("%s: accepted as %v", name, answer.User)
		}
		t.Logf("%s: %v", name, err)
	}
	accepted := func(name string, authenticator oidc.AuthenticatorTokenWithHealthCheck, token string) {
		t.Helper()
		answer, ok, err := authenticator.AuthenticateToken(context.Background(), token)
		if !ok {
			t.Fatalf("%s: %v", name, err)
		}
		user, groups := answer.User.GetName(), strings.Join(answer.User.GetGroups(), " ")
		if user != "firman:agent:deployer" || groups != "firman:ops" {
			t.Errorf("%s: %s of %s", name, user, groups)
		}
	}
	refused("another audience", byFile, fetch(t, firman, secret, "urn:other"))
	token := fetch(t, firman, secret, audience)
	refused("ES256 by the flags", byFlags, token)
	accepted("ES256 at+jwt by the file", byFile, token)
	firman.Command(t, "resource", "edit", "kubernetes", "--algorithm", "RS256", "--typ", "JWT")
	token = fetch(t, firman, secret, audience)
	accepted("RS256 by the flags", byFlags, token)
	accepted("RS256 by the file", byFile, token)
}
