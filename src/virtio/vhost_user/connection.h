// SPDX-License-Identifier: Apache-2.0
// Connection: vhost-user messages as reactor::MessageChannel reads and answers them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "reactor/message_channel.h"
#include "virtio/vhost_user/message.h"

namespace remora::virtio::vhost_user {

struct Wire {
    using Header = vhost_user::Header;
    static constexpr std::size_t kMaxPayloadBytes = vhost_user::kMaxPayloadBytes;
    static constexpr std::size_t kMaxReplyBytes = 1024;

    static const char* fault(const Header& header) {
        if ((header.flags & header_flags::kVersionMask) != header_flags::kVersion) {
            return "a header of another protocol version";
        }
        if ((header.flags & header_flags::kReply) != 0 || header.size > kMaxPayloadBytes) {
            return "a header that no front end sends";
        }
        return nullptr;
    }
    static std::size_t payload_bytes(const Header& header) { return header.size; }
};

struct Message : reactor::ReceivedMessage<Wire> {
    [[nodiscard]] RequestType type() const {
        return static_cast<RequestType>(header.request.get());
    }
    [[nodiscard]] bool needs_reply() const {
        return (header.flags & header_flags::kNeedReply) != 0;
    }
};

using Connection = reactor::MessageChannel<Message>;
using ConnectionHandler = reactor::MessageHandler<Message>;

}  // namespace remora::virtio::vhost_user
