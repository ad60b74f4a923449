// Package main is an agent as anyone would write it, and (in the tests) what Claude's SDK for Go makes of it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
)

// answer sends one message.
func answer(ctx context.Context, client anthropic.Client) (string, error) {
	message, err := client.Messages.New(ctx, anthropic.MessageNewParams{
		Model:     "claude-simulated",
		MaxTokens: 16,
		Messages:  []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	})
	if err != nil {
		return "", err
	}
	return message.Content[0].Text, nil
}

// identityToken runs firman for each exchange: no file is needed. The agent's issuer, name and key are settings
// of your own.
func identityToken(ctx context.Context) (string, error) {
	get := exec.CommandContext(ctx, "firman", "token", "get", "--issuer", os.Getenv("ISSUER"),
		"--client-id", os.Getenv("AGENT"), "--key", os.Getenv("AGENT_KEY"))
	token, err := get.Output()
	return strings.TrimSpace(string(token)), err
}

// withFunction is a client that asks a function for its identity token.
func withFunction() anthropic.Client {
	return anthropic.NewClient(option.WithFederationTokenProvider(identityToken, option.FederationOptions{
		FederationRuleID: os.Getenv("RULE"),
		OrganizationID:   os.Getenv("ORGANIZATION"),
		ServiceAccountID: os.Getenv("SERVICE_ACCOUNT"),
	}))
}

// requestID finds the id under which Claude's history keeps a refused exchange. The SDK has no exported type
// for that error: the id stands in its text alone.
func requestID(err error) string {
	return regexp.MustCompile(`req_\w+`).FindString(err.Error())
}

// outcome is what the program tells of one message, as a line of JSON.
type outcome struct {
	Text      string `json:"text,omitempty"`
	Error     string `json:"error,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

// main sends a message with a new client for each line that it reads.
func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		client := anthropic.NewClient() // finds its credentials itself
		if lines.Text() == "function" {
			client = withFunction()
		}
		text, err := answer(context.Background(), client)
		told := outcome{Text: text}
		if err != nil {
			told = outcome{Error: err.Error(), RequestID: requestID(err)}
		}
		line, _ := json.Marshal(told)
		fmt.Println(string(line))
	}
}
