// A function on aws-lambda-go; _HANDLER says how it is run, the event's `do` what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do    string `json:"do"`
	Text  string `json:"text"`
	Here  string `json:"here"`
	Until string `json:"until"`
}

type shopError struct{ name string }

func (e *shopError) Error() string { return "no shop named " + e.name }

func until(path string) {
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func echo(ctx context.Context, e event) (map[string]any, error) {
	found, _ := lambdacontext.FromContext(ctx)
	fmt.Println("line of", found.AwsRequestID)
	switch e.Do {
	case "error":
		return nil, errors.New("as asked")
	case "typed":
		return nil, &shopError{e.Text}
	case "panic":
		panic(&shopError{e.Text})
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "wait":
		if err := os.WriteFile(e.Here, nil, 0o600); err != nil {
			return nil, err
		}
		until(e.Until)
	}
	deadline, _ := ctx.Deadline()
	return map[string]any{
		"text":     e.Text,
		"pid":      os.Getpid(),
		"id":       found.AwsRequestID,
		"arn":      found.InvokedFunctionArn,
		"tenant":   found.TenantID,
		"custom":   found.ClientContext.Custom,
		"identity": found.Identity.CognitoIdentityID,
		"deadline": deadline.UnixMilli(),
		"trace":    ctx.Value("x-amzn-trace-id"),
		"name":     lambdacontext.FunctionName,
		"memory":   lambdacontext.MemoryLimitInMB,
		"stream":   lambdacontext.LogStreamName,
	}, nil
}

func stream(_ context.Context, e event) (io.Reader, error) {
	switch e.Do {
	case "early":
		return nil, &shopError{"early"}
	case "whole":
		return strings.NewReader(e.Text), nil
	}
	reader, writer := io.Pipe()
	go func() {
		_, _ = writer.Write([]byte("first;"))
		if e.Until != "" {
			until(e.Until)
		}
		if e.Do == "fail" {
			_ = writer.CloseWithError(&shopError{"middle"})
			return
		}
		_, _ = writer.Write([]byte("last"))
		_ = writer.Close()
	}()
	return reader, nil
}

func main() {
	switch os.Getenv("_HANDLER") {
	case "stream":
		lambda.StartWithOptions(stream)
	case "sigterm":
		lambda.StartWithOptions(echo, lambda.WithEnableSIGTERM(func() { fmt.Println("flushed") }))
	default:
		lambda.StartWithOptions(echo)
	}
}
