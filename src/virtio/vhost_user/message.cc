// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/message.h"

namespace remora::virtio::vhost_user {

std::string_view to_string(RequestType type) noexcept {
    switch (type) {
        case RequestType::GetFeatures:
            return "get features";
        case RequestType::SetFeatures:
            return "set features";
        case RequestType::SetOwner:
            return "set owner";
        case RequestType::ResetOwner:
            return "reset owner";
        case RequestType::SetMemTable:
            return "set memory table";
        case RequestType::SetLogBase:
            return "set log base";
        case RequestType::SetLogFd:
            return "set log descriptor";
        case RequestType::SetVringNum:
            return "set vring size";
        case RequestType::SetVringAddr:
            return "set vring address";
        case RequestType::SetVringBase:
            return "set vring base";
        case RequestType::GetVringBase:
            return "get vring base";
        case RequestType::SetVringKick:
            return "set vring kick";
        case RequestType::SetVringCall:
            return "set vring call";
        case RequestType::SetVringErr:
            return "set vring err";
        case RequestType::GetProtocolFeatures:
            return "get protocol features";
        case RequestType::SetProtocolFeatures:
            return "set protocol features";
        case RequestType::GetQueueNum:
            return "get queue number";
        case RequestType::SetVringEnable:
            return "set vring enable";
        case RequestType::SetBackendReqFd:
            return "set back-end channel";
        case RequestType::GetConfig:
            return "get config";
        case RequestType::SetConfig:
            return "set config";
        case RequestType::GetInflightFd:
            return "get inflight memory";
        case RequestType::SetInflightFd:
            return "set inflight memory";
        case RequestType::ResetDevice:
            return "reset device";
        case RequestType::GetMaxMemSlots:
            return "get memory slots";
        case RequestType::AddMemReg:
            return "add memory region";
        case RequestType::RemMemReg:
            return "remove memory region";
    }
    return "unknown";
}

}  // namespace remora::virtio::vhost_user
