package firman;

import com.anthropic.client.AnthropicClient;
import com.anthropic.client.okhttp.AnthropicOkHttpClient;
import com.anthropic.errors.AnthropicServiceException;
import com.anthropic.models.messages.Message;
import com.anthropic.models.messages.MessageCreateParams;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.LinkedHashMap;
import java.util.Map;

/** An agent as anyone would write it. Sends a message with a new client for each line that it reads. */
public final class Agent {
    static String answer() {
        AnthropicClient client = AnthropicOkHttpClient.fromEnv();
        Message message = client.messages().create(MessageCreateParams.builder()
            .model("claude-simulated")
            .maxTokens(16)
            .addUserMessage("hello")
            .build());
        return message.content().get(0).asText().text();
    }

    /** The id under which Claude's history keeps a refused exchange. */
    static String requestId(AnthropicServiceException refused) {
        return String.join("", refused.headers().values("request-id"));
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            Map<String, String> outcome = new LinkedHashMap<>();
            try {
                outcome.put("text", answer());
            } catch (AnthropicServiceException refused) {
                outcome.put("error", refused.toString());
                outcome.put("request_id", requestId(refused));
            } catch (Exception error) {
                outcome.put("error", error.toString());
            }
            System.out.println(new ObjectMapper().writeValueAsString(outcome));
        }
        System.exit(0); // The client's threads would keep it for a minute.
    }
}
