// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_status_map.h"

namespace remora::control {

using core::ErrorKind;

namespace {

/// gRPC sends a sentence as a header field, of which its peers take 8 KiB in all; percent-encoded
/// it may be three times as long.
constexpr std::size_t kLongestSentence = 1024;

/// Length of the character (UTF-8) that begins at `at`; 1 for a byte that begins none.
std::size_t character_at(std::string_view text, std::size_t at) {
    const auto is_next = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80U; };
    std::size_t end = at + 1;
    while (end < text.size() && end - at < 4 && is_next(text[end])) {
        ++end;
    }
    return end - at;
}

/// What a terminal acts on or what ends a line of a log: C0, DEL and C1 (two bytes in UTF-8).
bool is_control(std::string_view character) {
    const auto first = static_cast<unsigned char>(character.front());
    return first < ' ' || first == 0x7f ||
           (first == 0xc2 && character.size() > 1 &&
            static_cast<unsigned char>(character[1]) < 0xa0);
}

std::string escaped(std::string_view bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string out;
    for (const char c : bytes) {
        const auto byte = static_cast<unsigned char>(c);
        out += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 0xfU]};
    }
    return out;
}

}  // namespace

grpc::StatusCode to_grpc_code(ErrorKind kind) noexcept {
    switch (kind) {
        case ErrorKind::InvalidArgument:
            return grpc::StatusCode::INVALID_ARGUMENT;
        case ErrorKind::NotFound:
            return grpc::StatusCode::NOT_FOUND;
        case ErrorKind::AlreadyExists:
            return grpc::StatusCode::ALREADY_EXISTS;
        case ErrorKind::FailedPrecondition:
            return grpc::StatusCode::FAILED_PRECONDITION;
        case ErrorKind::ResourceExhausted:
            return grpc::StatusCode::RESOURCE_EXHAUSTED;
        case ErrorKind::Unavailable:
            return grpc::StatusCode::UNAVAILABLE;
        case ErrorKind::DeadlineExceeded:
            return grpc::StatusCode::DEADLINE_EXCEEDED;
        case ErrorKind::PermissionDenied:
            return grpc::StatusCode::PERMISSION_DENIED;
        case ErrorKind::Aborted:
            return grpc::StatusCode::ABORTED;
        case ErrorKind::Unimplemented:
            return grpc::StatusCode::UNIMPLEMENTED;
        case ErrorKind::DataLoss:
            return grpc::StatusCode::DATA_LOSS;
        case ErrorKind::Internal:
            return grpc::StatusCode::INTERNAL;
    }
    return grpc::StatusCode::UNKNOWN;
}

std::string to_sentence(std::string_view message) {
    std::string out;
    std::size_t at = 0;
    while (at < message.size() && out.size() < kLongestSentence) {
        const std::string_view one = message.substr(at, character_at(message, at));
        if (is_control(one)) {
            out += escaped(one);
        } else {
            out += one;
        }
        at += one.size();
    }
    return at < message.size() ? out + "..." : out;
}

grpc::Status to_grpc_status(const core::Error& error) {
    return {to_grpc_code(error.kind), to_sentence(error.message)};
}

}  // namespace remora::control
