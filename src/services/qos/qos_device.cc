// SPDX-License-Identifier: Apache-2.0
#include "services/qos/qos_device.h"

#include <utility>

namespace remora::services::qos {

core::Result<std::unique_ptr<block::Channel>> QosDevice::open_channel() {
    auto lower = lower_.open_channel();
    if (!lower) {
        return lower;
    }
    return stage_->open_over(std::move(*lower), lower_.geometry().block_size);
}

}  // namespace remora::services::qos
