// BatchNorm's affine map and the neuron in one pass: currents are
// weight (x - mean) invstd + bias. Channels lie `inner` elements apart: element i of a step is of
// channel (i / inner) % channels, whether channels are last (inner 1) or not.

#define NORM \
    const Wide *mean, const Wide *invstd, const Wide *weight, const Wide *bias, Index channels, \
    Index inner

KERNEL norm_fire_forward(
    const Storage *x, Index x_step, Storage *spikes, Index count, NORM, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(i, count) {
        Index c = i / inner % channels;
        Wide current[STEPS], h[STEPS];
        FOR_STEPS(t)
            current[t] = weight[c] * (widen(x[t * x_step + i]) - mean[c]) * invstd[c] + bias[c];
        integrate(neuron, current, h);
        FOR_STEPS(t) store(spikes + t * count + i, fires(neuron, h[t]));
    }
}

// For neuron i of channel c: its normalised inputs, and the gradients of its currents.
DEVICE Wide norm_fire_gradients(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Index i, Index c,
    const Wide *mean, const Wide *invstd, const Wide *weight, const Wide *bias,
    const Neuron &neuron, Wide *normalised, Wide *grad
) {
    Wide current[STEPS], h[STEPS];
    FOR_STEPS(t) {
        Wide centred = widen(x[t * x_step + i]) - mean[c];
        normalised[t] = centred * invstd[c];
        current[t] = weight[c] * centred * invstd[c] + bias[c];
        grad[t] = widen(grad_spikes[t * grad_step + i]);
    }
    integrate(neuron, current, h);
    return differentiate(neuron, current, h, grad);
}

// Sums over a channel, in `parts` parts: of the gradient of the currents (bias), of its product
// with the normalised input (weight), and of the gradient of the learnt rate. Neighbouring
// threads read neighbouring elements.
KERNEL norm_fire_sums(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Wide *grad_bias,
    Wide *grad_weight, Wide *grad_rates, Index count, Index parts, NORM, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    const Index size = count / channels;
    FOR_EACH(k, channels * parts) {
        Index c = inner == 1 ? k % channels : k / parts;
        Index part = inner == 1 ? k / channels : k % parts;
        Wide of_bias = 0, of_weight = 0, of_rate = 0;
        for (Index m = part; m < size; m += parts) {
            Index i = (m / inner * channels + c) * inner + m % inner;
            Wide normalised[STEPS], grad[STEPS];
            of_rate += norm_fire_gradients(
                x, x_step, grad_spikes, grad_step, i, c, mean, invstd, weight, bias, neuron,
                normalised, grad);
            FOR_STEPS(t) {
                of_bias += grad[t];
                of_weight += grad[t] * normalised[t];
            }
        }
        grad_bias[c * parts + part] = of_bias;
        grad_weight[c * parts + part] = of_weight;
        grad_rates[c * parts + part] = of_rate;
    }
}

// mean_grad and mean_product are the sums above over the number of elements of a channel, or 0
// where mean and invstd are no statistics of x.
KERNEL norm_fire_backward(
    const Storage *x, Index x_step, const Storage *grad_spikes, Index grad_step, Storage *grad_x,
    const Wide *mean_grad, const Wide *mean_product, Index count, NORM, NEURON
) {
    const Neuron neuron = DESCRIBE_NEURON;
    FOR_EACH(i, count) {
        Index c = i / inner % channels;
        Wide normalised[STEPS], grad[STEPS];
        norm_fire_gradients(
            x, x_step, grad_spikes, grad_step, i, c, mean, invstd, weight, bias, neuron,
            normalised, grad);
        FOR_STEPS(t) {
            Wide left = grad[t] - mean_grad[c] - normalised[t] * mean_product[c];
            store(grad_x + t * count + i, weight[c] * invstd[c] * left);
        }
    }
}
