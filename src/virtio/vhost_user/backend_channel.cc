// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/backend_channel.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/byte_reader.h"
#include "virtio/vhost_user/message.h"

namespace remora::virtio::vhost_user {

core::Result<void> BackendChannel::open(reactor::Io& io, reactor::Handle handle) {
    auto stream = io.adopt_stream(handle);
    if (!stream) {
        return core::fail("back-end channel", stream.error());
    }
    stream_ = std::move(*stream);
    stream_->set_handler(this);
    return {};
}

void BackendChannel::send_config_change() {
    if (stream_ == nullptr) {
        return;
    }
    Header header;
    header.request = static_cast<std::uint32_t>(BackendRequestType::ConfigChange);
    header.flags = header_flags::kVersion;
    std::array<std::byte, sizeof(Header)> bytes{};
    std::memcpy(bytes.data(), &header, sizeof(header));
    const core::Segment segment{bytes.data(), bytes.size()};
    // A full socket means that the front end has not read earlier news yet: it will look at the
    // configuration after this change all the same. Half a header would garble the channel.
    const std::ptrdiff_t sent = stream_->send({&segment, 1});
    if (sent > 0 && static_cast<std::size_t>(sent) < bytes.size()) {
        close();
    }
}

void BackendChannel::on_ready(reactor::Readiness /*readiness*/) {
    std::array<std::byte, 256> ignored;
    const core::Segment segment{ignored.data(), ignored.size()};
    constexpr int kReadsPerEvent = 64;  // a front end that floods loses its channel
    for (int i = 0; i < kReadsPerEvent; ++i) {
        const std::ptrdiff_t got = stream_->recv({&segment, 1});
        if (got == -EAGAIN) {
            return;
        }
        if (got <= 0) {
            break;
        }
    }
    close();
}

}  // namespace remora::virtio::vhost_user
