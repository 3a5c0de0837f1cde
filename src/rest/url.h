// SPDX-License-Identifier: Apache-2.0
// What a URL is made of: percent-encoded bytes (RFC 3986, 2.1), query parameters, UTF-8. Pure
// functions over text that a client wrote, so nothing is taken for granted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace remora::rest {

constexpr std::size_t kMostParameters = 256;

/// Whether the bytes are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates.
bool is_utf8(std::string_view bytes);

/// What becomes of %2F: a value of several segments keeps it, to tell it from the separators
/// (google/api/http.proto, "reserved expansion").
enum class Slash { Decode, Keep };

/// Errors: InvalidArgument for a broken escape, for a zero byte and for what is not UTF-8.
core::Result<std::string> percent_decode(std::string_view text, Slash slash);

struct Parameter {
    std::string name;
    std::string value;
};

/// The parameters behind the '?', in order; '+' is a space. Errors: InvalidArgument, also for more
/// than kMostParameters.
core::Result<std::vector<Parameter>> parse_query(std::string_view text);

}  // namespace remora::rest
