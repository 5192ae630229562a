// One chat completion with the standard library alone. The argument is the prompt.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type question struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
}

type answer struct {
	Choices []struct {
		Message message `json:"message"`
	} `json:"choices"`
}

func main() {
	log.SetFlags(0)
	prompt := "What is the capital of France?"
	if len(os.Args) > 1 {
		prompt = os.Args[1]
	}
	text, err := ask(prompt)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
}

func ask(prompt string) (string, error) {
	body, err := json.Marshal(question{"gpt-4o-mini", []message{{"user", prompt}}})
	if err != nil {
		return "", err
	}
	base := cmp.Or(os.Getenv("OPENAI_BASE_URL"), "http://127.0.0.1:3030/v1")
	call, err := http.NewRequest("POST", base+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	call.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	call.Header.Set("Content-Type", "application/json")

	// The default client has no timeout: it waits for as long as the batch takes.
	response, err := http.DefaultClient.Do(call)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(response.Body)
		return "", fmt.Errorf("%s: %s", response.Status, text)
	}
	var parsed answer
	if err := json.NewDecoder(response.Body).Decode(&parsed); err != nil {
		return "", err
	}
	if len(parsed.Choices) == 0 {
		return "", fmt.Errorf("an answer without choices")
	}
	return parsed.Choices[0].Message.Content, nil
}
