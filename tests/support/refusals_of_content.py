"""Refusals of messages, tools and answer formats as servers really word them; the rule is that of refusals.py."""

from __future__ import annotations

from tests.support.refusals import REFUSED, UNKNOWN, Wording

GROQ_MESSAGE = "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2%s)]"
THINKS = {"effort": {"none": {"thinking": {"type": "disabled"}}, "high": {"thinking": {"type": "enabled"}}}}

CONTENT = [
    # reasoning of earlier turns
    Wording(
        "DeepSeek",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        {"reasoning_in": "reasoning_content", "reasoning_required": True, "reasoning_placeholder": " "},
    ),
    Wording(
        "DeepSeek",
        "Missing `reasoning_content` field in the assistant message at message index 5. For more information",
        {"reasoning_in": "reasoning_content", "reasoning_required": True, "reasoning_placeholder": " "},
    ),
    Wording(
        "Kimi, by OpenRouter",
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": '{"error":{"message":"thinking is enabled but reasoning_content is missing in assistant '
                    'tool call message at index 3","type":"invalid_request_error"}}',
                    "provider_name": "Moonshot AI",
                },
            }
        },
        {"reasoning_in": "reasoning_content", "reasoning_required": True},
        {"reasoning_placeholder": "-"},
    ),
    Wording(
        "Groq",
        GROQ_MESSAGE % "' : property 'reasoning_content' is unsupported",
        {"reasoning_in": "none", "reasoning_required": False},
        {"reasoning_in": "reasoning_content"},
    ),
    Wording(
        "Groq",
        "messages[3].reasoning: reasoning is not supported with this model",
        {"reasoning_in": "none", "reasoning_required": False},
        {"reasoning_in": "reasoning"},
    ),
    Wording(
        "Mistral",
        {"detail": [{**REFUSED, "loc": ["body", "messages", 1, "assistant", "reasoning_content"]}]},
        {"reasoning_in": "none", "reasoning_required": False},
        {"reasoning_in": "reasoning_content"},
        422,
    ),
    Wording(
        "Gemini",
        [{"error": {"code": 400, "message": "Function call is missing a thought_signature in functionCall parts."}}],
        {"thought_signatures": True, "thought_signature_filler": "skip_thought_signature_validator"},
    ),
    # tool choice
    Wording(
        "Kimi",
        "tool_choice 'specified' is incompatible with thinking enabled",
        {"forced_choice_level": "none"},
        THINKS,
    ),
    Wording(
        "Kimi, unknown host", "tool_choice 'required' is incompatible with thinking enabled", {"tool_choice": "auto"}
    ),
    Wording(
        "DashScope",
        "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to required "
        "or object in thinking mode",
        {"forced_choice_level": "none"},
        THINKS,
    ),
    Wording("DeepSeek", "Thinking mode does not support this tool_choice", {"forced_choice_level": "none"}, THINKS),
    Wording(
        "OpenRouter",
        "No endpoints found that support the provided 'tool_choice' value. To learn more about provider routing",
        {"tool_choice": "auto"},
        status=404,
    ),
    Wording("Azure", "Invalid value: 'required'. Supported values are: 'none' and 'auto'.", {"tool_choice": "auto"}),
    # the answer's form
    Wording("DeepSeek", "This response_format type is unavailable now", {"json_schema": "object"}),
    Wording(
        "OpenAI",
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        {"json_schema": "object"},
    ),
    Wording("Groq", "This model does not support response format `json_schema`.", {"json_schema": "object"}),
    Wording(
        "Groq",
        "This model does not support response format `json_object`.",
        {"json_schema": "prompt"},
        {"json_schema": "object"},
    ),
    Wording(
        "Azure",
        "response_format value as json_schema is enabled only for api versions 2024-08-01-preview and later",
        {"json_schema": "object"},
    ),
    Wording(
        "LM Studio",
        {"error": "'response_format.type' must be 'json_schema' or 'text'"},
        {"json_schema": "schema"},
        {"json_schema": "object"},
    ),
    # images
    Wording("OpenRouter", "No endpoints found that support image input", {"vision": False}, status=404),
    Wording("OpenAI", "Invalid content type. image_url is only supported by certain models.", {"vision": False}),
    Wording(
        "DeepSeek",
        "Failed to deserialize the JSON body into the target type: messages[0]: unknown variant `image_url`, expected "
        "`text` at line 1 column 190",
        {"vision": False},
    ),
    Wording("vLLM", "At most 0 image(s) may be provided in one prompt.", {"vision": False}),
    Wording(
        "llama.cpp",
        {
            "error": {
                "code": 500,
                "message": "image input is not supported - hint: if this is unexpected, you may need "
                "to provide the mmproj",
                "type": "server_error",
            }
        },
        {"vision": False},
        status=500,
    ),
    Wording("xAI", {"code": "x", "error": "Image inputs are not supported by this model."}, {"vision": False}),
    Wording("others", "This model does not support image inputs.", {"vision": False}),
    Wording(
        "OpenAI",
        "Invalid 'messages[3]'. Image URLs are only allowed for messages with role 'user', but this message with role "
        "'tool' contains an image URL.",
        {"tool_images": "user"},
        {"tool_images": "inline"},
    ),
    Wording("LM Studio", {"error": "'url' field must be a base64 encoded image."}, {"image_urls": False}),
    # roles and contents
    Wording(
        "DeepSeek",
        "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, "
        "expected one of `system`, `user`, `assistant`, `tool`, `latest_reminder` at line 1 column 60",
        {"system_role": "system"},
        {"system_role": "developer"},
        422,
    ),
    Wording(
        "OpenAI",
        "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
        {"system_role": "system"},
        {"system_role": "developer"},
    ),
    Wording("vLLM, Qwen", "System message must be at the beginning.", {"mid_system": "user"}, {"mid_system": "stay"}),
    Wording(
        "llama.cpp, Qwen",
        {"error": {"code": 500, "message": "Jinja Exception: System message must be at the beginning."}},
        {"mid_system": "user"},
        {"mid_system": "stay"},
        500,
    ),
    Wording("MiniMax", "invalid message role: system (2013)", {"mid_system": "user"}, {"mid_system": "stay"}),
    Wording("Mistral", "Unexpected role 'user' after role 'tool'", {"bridge_after_tool": True}),
    Wording(
        "Mistral",
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
        {"prefill": "prefix"},
    ),
    Wording(
        "pydantic",
        {"detail": [{"loc": ["body", "messages", 1, "content"], "msg": "Input should be a valid string"}]},
        {"null_content": False},
        {},
        422,
    ),
    Wording("Groq, text models", GROQ_MESSAGE % ".content' : value must be a string", {"parts": False}),
    # tools
    Wording(
        "Mistral",
        "Tool call id was call_98660886 but must be a-z, A-Z, 0-9, with a length of 9.",
        {"tool_ids": "mistral9"},
    ),
    Wording(
        "OpenAI",
        "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a "
        "string with length 43 instead.",
        {"tool_ids": "max40"},
    ),
    Wording(
        "Gemini",
        [
            {
                "error": {
                    "code": 400,
                    "message": f'{UNKNOWN} "const" at \'tools[0].function_declarations[5].parameters.properties[8]'
                    ".value.any_of[0]': Cannot find field.",
                }
            }
        ],
        {"schema": "gemini"},
    ),
    Wording("vLLM", "The provided JSON schema contains features not supported by xgrammar.", {"schema": "grammar"}),
    Wording(
        "Ollama",
        "json: cannot unmarshal array into Go struct field ChatCompletionRequest.tools.function.parameters.properties."
        "type of type string",
        {"schema": "ollama"},
    ),
]
