// SPDX-License-Identifier: Apache-2.0
#include "rest/head.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace remora::rest {

namespace {

using Refused = std::unexpected<HeadRefusal>;

Refused refuse(int status, std::string message) {
    return Refused(HeadRefusal{status, std::move(message)});
}

std::string lower(std::string_view text) {
    std::string made(text);
    std::ranges::transform(made, made.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return made;
}

/// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
    constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
    const auto good = [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               kMarks.find(c) != std::string_view::npos;
    };
    return !text.empty() && std::ranges::all_of(text, good);
}

/// Visible ASCII; what else a target has is percent-encoded.
bool is_visible(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

bool is_field_value(std::string_view text) {
    return std::ranges::all_of(text, [](char c) {
        return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != '\x7f');
    });
}

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kSpace = " \t";
    const std::size_t first = std::min(text.find_first_not_of(kSpace), text.size());
    text.remove_prefix(first);
    return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

/// The methods that the library knows; routes use some of them.
bool is_known_method(std::string_view method) {
    constexpr std::string_view kKnown[] = {"GET",    "HEAD",  "POST",    "PUT",
                                           "DELETE", "PATCH", "OPTIONS", "TRACE"};
    return std::ranges::find(kKnown, method) != std::end(kKnown);
}

std::expected<std::string, HeadRefusal> check_request_line(std::string_view line) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) {
        return refuse(400, "the request line is not METHOD TARGET VERSION");
    }
    const std::string_view method = line.substr(0, first);
    const std::string_view target = line.substr(first + 1, last - first - 1);
    const std::string_view version = line.substr(last + 1);
    if (!is_token(method)) {
        return refuse(400, "the request's method is no token");
    }
    if (!version.starts_with("HTTP/")) {
        return refuse(400, "the request line has no HTTP version");
    }
    if (version != "HTTP/1.1" && version != "HTTP/1.0") {
        return refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    }
    if (!is_known_method(method)) {
        return refuse(501, "the request's method is not known");
    }
    if (target.size() > kLongestTarget) {
        return refuse(414, "the request's target is longer than " + std::to_string(kLongestTarget) +
                               " bytes");
    }
    if (!target.starts_with('/') || !is_visible(target) || target.find('#') != target.npos) {
        return refuse(400, "the request's target is no path with its escapes");
    }
    return std::string(line);
}

using Fields = std::multimap<std::string, std::string>;

std::expected<Fields, HeadRefusal> read_fields(std::string_view text) {
    Fields fields;
    while (!text.empty()) {
        const std::size_t end = text.find("\r\n");
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 2, text.size()));
        const std::size_t colon = std::min(line.find(':'), line.size());
        const std::string_view value = trimmed(line.substr(std::min(colon + 1, line.size())));
        // A line that goes on in the next one (obs-fold) has no name, and is refused here, too.
        if (!is_token(line.substr(0, colon)) || colon == line.size() || !is_field_value(value)) {
            return refuse(
                400, "header field " + std::to_string(fields.size() + 1) + " is not NAME: VALUE");
        }
        if (fields.size() == kMostHeaderFields) {
            return refuse(
                431, "there are more than " + std::to_string(kMostHeaderFields) + " header fields");
        }
        fields.emplace(lower(line.substr(0, colon)), value);
    }
    return fields;
}

/// Where the body ends (RFC 9112, 6.1 to 6.3).
std::expected<void, HeadRefusal> read_framing(const Fields& fields, bool old_version, Head& head) {
    const auto lengths = fields.equal_range("content-length");
    const auto codings = fields.equal_range("transfer-encoding");
    const auto length_count = std::distance(lengths.first, lengths.second);
    const auto coding_count = std::distance(codings.first, codings.second);
    if (coding_count > 0) {
        if (coding_count > 1 || length_count > 0 || old_version) {
            return refuse(400, "the body's end is said twice, or in a way HTTP/1.0 has not");
        }
        if (lower(codings.first->second) != "chunked") {
            return refuse(501, "the only Transfer-Encoding that is taken is chunked");
        }
        head.chunked = true;
        return {};
    }
    if (length_count == 0) {
        return {};
    }
    const std::string& text = lengths.first->second;
    const char* end = text.data() + text.size();
    const bool digits =
        !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
    if (length_count > 1 || !digits) {
        return refuse(400, "Content-Length is no single number");
    }
    const auto [stop, trouble] = std::from_chars(text.data(), end, head.content_length);
    if (trouble != std::errc() || stop != end || head.content_length > kLargestBody) {
        return refuse(413, "the body is larger than " + std::to_string(kLargestBody) + " bytes");
    }
    return {};
}

/// A header field that is passed on. What is under a name of ours the library does nothing about:
/// it would unpack compressed bodies without a bound, and take forms apart.
struct Kept {
    std::string_view name;
    std::string_view as;
    bool is_word;  ///< The library compares its value as it stands, so it is in small letters.
};
constexpr Kept kKept[] = {{"host", "host", false},
                          {"origin", "origin", false},
                          {"connection", "connection", true},
                          {"content-length", "content-length", false},
                          {"transfer-encoding", "transfer-encoding", true},
                          {"content-type", kContentTypeField, false},
                          {"content-encoding", kContentEncodingField, false},
                          {"expect", "expect", true},
                          {"grpc-timeout", "grpc-timeout", false}};

}  // namespace

std::expected<Head, HeadRefusal> parse_head(std::string_view text) {
    if (!text.ends_with("\r\n\r\n")) {
        return refuse(400, "the request's head has no end");
    }
    text.remove_suffix(2);
    const std::size_t line_end = text.find("\r\n");
    const auto line = check_request_line(text.substr(0, line_end));
    if (!line) {
        return std::unexpected(line.error());
    }
    const auto fields = read_fields(text.substr(line_end + 2));
    if (!fields) {
        return std::unexpected(fields.error());
    }
    const bool old_version = line->ends_with("1.0");
    if (fields->count("host") != 1 && !(old_version && fields->count("host") == 0)) {
        return refuse(400, "there has to be one Host header field");
    }
    Head head;
    if (auto framing = read_framing(*fields, old_version, head); !framing) {
        return std::unexpected(framing.error());
    }
    head.text = *line + "\r\n";
    for (const Kept& kept : kKept) {
        if (const auto found = fields->find(std::string(kept.name)); found != fields->end()) {
            head.text += std::string(kept.as) + ": " +
                         (kept.is_word ? lower(found->second) : found->second) + "\r\n";
        }
    }
    head.text += "\r\n";
    return head;
}

}  // namespace remora::rest
