// SPDX-License-Identifier: Apache-2.0
// The head of an HTTP request, before the HTTP library sees it: refused when it is malformed, too
// large or ambiguous about where its body ends (RFC 9112, 6.3), else reduced to the few header
// fields that are used, so that the library's other features are out of a client's reach. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace remora::rest {

constexpr std::size_t kLargestHead = std::size_t{16} << 10U;
constexpr std::size_t kLongestTarget = std::size_t{4} << 10U;
constexpr std::size_t kMostHeaderFields = 100;
constexpr std::uint64_t kLargestBody = std::uint64_t{1} << 20U;

/// What the body's header fields are called behind parse_head.
constexpr std::string_view kContentTypeField = "x-content-type";
constexpr std::string_view kContentEncodingField = "x-content-encoding";

struct Head {
    std::string text;  ///< What the library is given, with the empty line at its end.
    std::uint64_t content_length = 0;
    bool chunked = false;
};

struct HeadRefusal {
    int status = 400;
    std::string message;
};

/// `text` ends with the empty line.
std::expected<Head, HeadRefusal> parse_head(std::string_view text);

}  // namespace remora::rest
