// Package mcp tests the MCP SDK for Go, client and server, with the real firman as authorization server. The
// server names firman in its metadata (RFC 9728) and verifies tokens by firman's keys; the client finds all the
// rest by itself.
package mcp

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

const metadataPath = "/.well-known/oauth-protected-resource/mcp"

// toolServer has one tool, which tells who called it. The caller needs the scopes.
func toolServer(t *testing.T, issuer string, scopes ...string) string {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami"},
		func(_ context.Context, request *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			caller := request.Extra.TokenInfo
			text := fmt.Sprintf("%s %s", caller.UserID, strings.Join(caller.Scopes, " "))
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
		})
	mux := http.NewServeMux()
	listening := httptest.NewServer(mux)
	t.Cleanup(listening.Close)
	resource := listening.URL + "/mcp"

	provider, err := oidc.NewProvider(t.Context(), issuer)
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: resource})
	verify := func(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
		verified, err := verifier.Verify(ctx, token)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, err)
		}
		var claims struct{ Scope string }
		if err := verified.Claims(&claims); err != nil {
			return nil, err
		}
		return &auth.TokenInfo{
			UserID: verified.Subject, Scopes: strings.Fields(claims.Scope), Expiration: verified.Expiry,
		}, nil
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	mux.Handle("/mcp", auth.RequireBearerToken(verify, &auth.RequireBearerTokenOptions{
		ResourceMetadataURL: listening.URL + metadataPath, Scopes: scopes,
	})(handler))
	mux.Handle(metadataPath, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: resource, AuthorizationServers: []string{issuer}, ScopesSupported: scopes,
	}))
	return resource
}

func whoAmI(t *testing.T, resource, issuer, clientID, secret string) (string, error) {
	t.Helper()
	handler, err := extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{
		Credentials: &oauthex.ClientCredentials{
			ClientID:         clientID,
			ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: secret},
			Issuer:           issuer,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "agent", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
		Endpoint: resource, OAuthHandler: handler,
	}, nil)
	if err != nil {
		return "", err
	}
	defer session.Close()
	answer, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		return "", err
	}
	return answer.Content[0].(*mcp.TextContent).Text, nil
}

func TestTheMCPSDKGetsATokenWithAClientSecret(t *testing.T) {
	firman := StartFirman(t)
	resource := toolServer(t, firman.Issuer, "call")
	firman.Command(t, "resource", "add", "tools", "--identifier", resource, "--scope", "call")
	firman.Command(t, "role", "add", "caller", "--grant", "tools")
	agent := firman.Command(t, "agent", "add", "mailer", "--owner", "team", "--role", "caller", "--secret")
	secret := agent["client_secret"].(string)

	t.Run("a wrong secret is refused", func(t *testing.T) {
		_, err := whoAmI(t, resource, firman.Issuer, "mailer", "not-the-secret")
		if err == nil || !strings.Contains(err.Error(), "client authentication failed") {
			t.Fatal(err)
		}
	})
	t.Run("the right one gets a token", func(t *testing.T) {
		who, err := whoAmI(t, resource, firman.Issuer, "mailer", secret)
		if err != nil || who != "agent:mailer call" {
			t.Fatal(who, err)
		}
	})
	// The SDK sends the scopes that the server names, and no resource.
	t.Run("its scopes find the one resource of several that has them", func(t *testing.T) {
		firman.Command(t, "resource", "add", "mail", "--identifier", "https://mail.example", "--scope", "send")
		firman.Command(t, "role", "add", "sender", "--grant", "mail")
		firman.Command(t, "agent", "edit", "mailer", "--add-role", "sender")
		who, err := whoAmI(t, resource, firman.Issuer, "mailer", secret)
		if err != nil || who != "agent:mailer call" {
			t.Fatal(who, err)
		}
	})
	t.Run("scopes that several resources have are refused, with their names", func(t *testing.T) {
		firman.Command(t, "resource", "add", "phone", "--identifier", "urn:phone", "--scope", "call")
		firman.Command(t, "role", "add", "phoner", "--grant", "phone")
		firman.Command(t, "agent", "edit", "mailer", "--add-role", "phoner")
		_, err := whoAmI(t, resource, firman.Issuer, "mailer", secret)
		if err == nil || !strings.Contains(err.Error(), "invalid_target") || !strings.Contains(err.Error(), resource) {
			t.Fatal(err)
		}
	})
}
