// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/capabilities.h"

#include <limits>
#include <optional>

#include "memory/guest_memory.h"
#include "vfio_user/message.h"

namespace remora::vfio_user {

namespace {

constexpr int kMaxDepth = 8;

/// Reads JSON from left to right (RFC 8259). Each function takes what it names, or returns false.
class Json {
  public:
    Json(std::string_view text, Capabilities& out) : text_(text), out_(out) {}

    bool document() {
        space();
        return peek() == '{' && value(0, "") && at_ == text_.size();
    }

  private:
    [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char wanted) {
        const bool there = peek() == wanted;
        at_ += there ? 1U : 0U;
        return there;
    }
    void space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') {
            ++at_;
        }
    }

    bool value(int depth, std::string_view path) {
        if (depth > kMaxDepth) {
            return false;
        }
        bool good = false;
        switch (peek()) {
            case '{':
                good = members(depth, path);
                break;
            case '[':
                good = elements(depth);
                break;
            case '"':
                good = string() && wants_none(path);
                break;
            case 't':
                good = word("true") && keep_flag(path, true);
                break;
            case 'f':
                good = word("false") && keep_flag(path, false);
                break;
            case 'n':
                good = word("null") && wants_none(path);
                break;
            default:
                good = number(path);
                break;
        }
        space();
        return good;
    }

    bool members(int depth, std::string_view path) {
        take('{');
        space();
        if (take('}')) {
            return true;
        }
        while (true) {
            const auto name = string();
            space();
            if (!name || !take(':')) {
                return false;
            }
            space();
            // Only "capabilities" and what is directly in it is of interest.
            const bool inside = depth == 1 && path == "capabilities";
            const bool top = depth == 0 && *name == "capabilities";
            if (top && peek() != '{') {
                return false;
            }
            if (!value(depth + 1, inside || top ? *name : "")) {
                return false;
            }
            if (take('}')) {
                return true;
            }
            if (!take(',')) {
                return false;
            }
            space();
        }
    }

    bool elements(int depth) {
        take('[');
        space();
        if (take(']')) {
            return true;
        }
        while (true) {
            if (!value(depth + 1, "")) {
                return false;
            }
            if (take(']')) {
                return true;
            }
            if (!take(',')) {
                return false;
            }
            space();
        }
    }

    /// As it stands between the quotes: none of the names of interest has an escape.
    std::optional<std::string_view> string() {
        if (!take('"')) {
            return std::nullopt;
        }
        const std::size_t begin = at_;
        while (at_ < text_.size() && text_[at_] != '"') {
            if (static_cast<unsigned char>(text_[at_]) < 0x20) {
                return std::nullopt;
            }
            at_ += text_[at_] == '\\' ? 2U : 1U;
        }
        const std::size_t end = at_;
        return take('"') ? std::optional(text_.substr(begin, end - begin)) : std::nullopt;
    }

    bool word(std::string_view wanted) {
        if (text_.substr(at_, wanted.size()) != wanted) {
            return false;
        }
        at_ += wanted.size();
        return true;
    }

    /// An integer that fits 64 bits is kept; others are only checked.
    bool number(std::string_view path) {
        const bool negative = take('-');
        std::uint64_t whole = 0;
        bool fits = !negative;
        std::size_t digits = 0;
        for (; peek() >= '0' && peek() <= '9'; ++at_, ++digits) {
            fits = fits && !__builtin_mul_overflow(whole, 10U, &whole) &&
                   !__builtin_add_overflow(whole, static_cast<unsigned>(peek() - '0'), &whole);
        }
        if (digits == 0) {
            return false;
        }
        while (peek() == '.' || peek() == 'e' || peek() == 'E' || peek() == '+' || peek() == '-' ||
               (peek() >= '0' && peek() <= '9')) {
            fits = false;
            ++at_;
        }
        return keep_number(path, fits ? std::optional(whole) : std::nullopt);
    }

    bool keep_number(std::string_view path, std::optional<std::uint64_t> given) {
        std::uint64_t* to = nullptr;
        if (path == "max_msg_fds") {
            to = &out_.max_message_handles;
        } else if (path == "max_data_xfer_size") {
            to = &out_.max_transfer_bytes;
        }
        if (to == nullptr) {
            return path != "write_multiple";
        }
        if (given) {
            *to = *given;
        }
        return given.has_value();
    }

    bool keep_flag(std::string_view path, bool given) {
        if (path == "write_multiple") {
            out_.write_multiple = given;
            return true;
        }
        return wants_none(path);
    }

    /// Whether a value that is no number may stand there.
    static bool wants_none(std::string_view path) {
        return path != "max_msg_fds" && path != "max_data_xfer_size" && path != "write_multiple";
    }

    std::string_view text_;
    std::size_t at_ = 0;
    Capabilities& out_;
};

}  // namespace

core::Result<Capabilities> parse_capabilities(std::string_view json) {
    Capabilities out;
    if (!Json(json, out).document()) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "the capabilities are no JSON object of the expected kind");
    }
    return out;
}

std::string make_capabilities(const Capabilities& client) {
    // Only what the client has offered, too, may be in the answer; the limits are in all of them.
    std::string text = R"({"capabilities":{"max_msg_fds":)" + std::to_string(kMaxMessageHandles) +
                       R"(,"max_data_xfer_size":)" + std::to_string(kMaxTransferBytes) +
                       R"(,"max_dma_maps":)" + std::to_string(memory::GuestMemory::kMaxRegions) +
                       R"(,"pgsizes":4096)";
    if (client.write_multiple) {
        text += R"(,"write_multiple":true)";
    }
    return text + "}}";
}

}  // namespace remora::vfio_user
