// SPDX-License-Identifier: Apache-2.0
// Connection: vfio-user messages as reactor::MessageChannel reads and answers them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "reactor/message_channel.h"
#include "vfio_user/message.h"

namespace remora::vfio_user {

struct Wire {
    using Header = vfio_user::Header;
    static constexpr std::size_t kMaxPayloadBytes = vfio_user::kMaxPayloadBytes;
    static constexpr std::size_t kMaxReplyBytes = kMaxPayloadBytes;

    static const char* fault(const Header& header) {
        // We ask the client nothing, so a reply answers nothing.
        if ((header.flags & header_flags::kTypeMask) != 0) {
            return "a message that is no command";
        }
        if (header.size < sizeof(Header) || header.size - sizeof(Header) > kMaxPayloadBytes) {
            return "a message of a size that no command has";
        }
        return nullptr;
    }
    static std::size_t payload_bytes(const Header& header) { return header.size - sizeof(Header); }
};

struct Message : reactor::ReceivedMessage<Wire> {
    [[nodiscard]] Command command() const { return static_cast<Command>(header.command.get()); }
    [[nodiscard]] bool needs_reply() const { return (header.flags & header_flags::kNoReply) == 0; }
};

using Connection = reactor::MessageChannel<Message>;
using ConnectionHandler = reactor::MessageHandler<Message>;

}  // namespace remora::vfio_user
